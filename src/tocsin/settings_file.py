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


def to_yaml(values: Any) -> str:
    """Write values as a person would write them in a settings file."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def with_entry(text: str, key: str, entry: dict[str, str]) -> str | None:
    """Return a settings file's text with an entry more in the list `key`; all else stays as it is written.

    None when the text cannot be added to safely: what it says then would be more than what it said and the entry.
    """
    written = ", ".join(f"{name}: {value}" for name, value in entry.items())
    try:
        before = yaml.safe_load(text) or {}
        added = _added(text, key, written)
        after = yaml.safe_load(added)
    except yaml.YAMLError:
        return None
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    entries = after.pop(key)
    old = before.pop(key, None) or []
    return added if after == before and entry in entries and _without(entries, entry) == old else None


def _added(text: str, key: str, written: str) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = next(((name, value) for name, value in pairs if name.value == key), None)
    if found is None:
        return f"{_ended(text)}{key}:\n  - {written}\n"
    name, value = found
    if isinstance(value, yaml.SequenceNode) and value.flow_style:
        place = value.start_mark.index + 1
        return f"{text[:place]}{{{written}}}{', ' if value.value else ''}{text[place:]}"
    column = value.start_mark.column if isinstance(value, yaml.SequenceNode) else 2
    lines = text.splitlines(keepends=True)
    line = name.start_mark.line + 1
    return f"{_ended(''.join(lines[:line]))}{' ' * column}- {written}\n{''.join(lines[line:])}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _without(entries: list[Any], entry: dict[str, str]) -> list[Any]:
    at = entries.index(entry)
    return entries[:at] + entries[at + 1 :]
