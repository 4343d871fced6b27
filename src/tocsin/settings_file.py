"""The settings file as text: its values, and the line each of them stands on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tocsin.errors import SettingsError


@dataclass(frozen=True)
class SettingsFile:
    """What a settings file says. lines: dotted key -> 1-based line; entries of lists count from 0 (`sinks.0.url`)."""

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, key: str) -> str | None:
        """Return file:line of a key, or of the part of the file it stands in; None when it is not in the file."""
        while key:
            if key in self.lines:
                return f"{self.path}:{self.lines[key]}"
            key = key.rpartition(".")[0]
        return None


def read_settings_file(path: Path | None) -> SettingsFile:
    """Read a YAML file of keys and values; None gives one that says nothing.

    Raises SettingsError, with the line, when it cannot be read, is no valid YAML or names a key twice.
    """
    if path is None:
        return SettingsFile()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no text in UTF-8 (byte {error.start})") from error
    try:
        values = yaml.safe_load(text)
        lines = dict(_lines(path, yaml.compose(text, Loader=yaml.SafeLoader)))
    except RecursionError as error:
        raise SettingsError(f"{path}: a part of it holds itself, or too many others") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}: column {mark.column + 1}" if mark else str(path)
        raise SettingsError(f"{place}: no valid YAML: {getattr(error, 'problem', None) or error}") from error
    if values is None:
        return SettingsFile(path)
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must hold keys and values, such as `store: ./data`")
    return SettingsFile(path, {str(key): value for key, value in values.items()}, lines)


def _lines(path: Path, node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield every key with its line. YAML keeps the last of two equal keys; a person meant one of them."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{prefix}{key.value}", key.start_mark.line + 1
            if name in seen:
                raise SettingsError(f"{path}:{line}: key {name!r} stands already on line {seen[name]}")
            seen[name] = line
            yield name, line
            yield from _lines(path, value, f"{name}.")
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield f"{prefix}{index}", value.start_mark.line + 1
            yield from _lines(path, value, f"{prefix}{index}.")
