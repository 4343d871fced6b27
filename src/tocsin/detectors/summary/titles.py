"""Titles of findings, as far as they can be judged before there is one."""

import string
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.reducers import RESULTS
from tocsin.errors import SettingsError


def check_title(summary: Summary, what: str) -> None:
    """Raise SettingsError when a title names what is not there, or writes a value as what it is not."""
    values = samples(summary)
    try:
        fields = [(name, spec) for _, name, spec, _ in string.Formatter().parse(summary.title) if name is not None]
    except ValueError as error:
        raise SettingsError(
            f"{what}: {summary.title!r}: {error}; a brace itself is written twice, {{{{ or }}}}"
        ) from error
    for name, spec in fields:
        if name not in values:
            raise SettingsError(f"{what}: {name!r} is none of its names: {', '.join(values)}")
        try:
            format(values[name], spec or "")
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{what}: {{{name}:{spec}}} does not fit its value: {error}") from error


def default_title(summary: Summary) -> str:
    """Return a title for a summary that has none: whom it is about, its name, and its numbers."""
    numbers = [reducer.name for reducer in summary.reducers if pa.types.is_primitive(RESULTS[reducer.kind])]
    told = ", ".join(f"{name} {{{name}}}" for name in numbers)
    about = f"{{entity}}: {summary.name}" if summary.entity else summary.name
    return f"{about} ({told})" if told else about


def samples(summary: Summary) -> dict[str, Any]:
    """Return a value of the right type for every name that a title may use."""
    parts = dict.fromkeys(summary.key_parts, "text")
    results = {reducer.name: _sample(RESULTS[reducer.kind]) for reducer in summary.reducers}
    return {**parts, **results, "duration": "1 m", "level": 1.0, "entity": "text"}


def _sample(kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind):
        return datetime(1970, 1, 1, tzinfo=UTC)
    return 1 if pa.types.is_integer(kind) else 1.0 if pa.types.is_floating(kind) else "text"
