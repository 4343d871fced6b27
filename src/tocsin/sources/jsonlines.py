"""Lines of JSON as text columns: nested records flattened by name, bad lines set aside."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

_NUMBER = (int, float)


@dataclass(frozen=True)
class JsonColumn:
    """A field's values as text, and Zeek's word for the type they had: count, int, double, bool or string."""

    text: pa.Array
    guess: str


def json_object(line: bytes) -> dict[str, Any] | None:
    """Return a line's JSON object, or None where it is none."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_json_lines(
    data: bytes, flatten: Sequence[str] = ()
) -> tuple[dict[str, JsonColumn], np.ndarray, list[tuple[int, str]]]:
    """Read JSON objects, one a line.

    flatten: fields whose own fields become columns, `flow` -> `flow.start`.
    Returns the columns by name; each record's number among the lines, (n,) int64, 0-based; the lines that are no
    record as (number, reason).
    """
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(data), read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        )
        if table.num_rows == data.count(b"\n") + (0 if data.endswith(b"\n") else 1):
            return _flat(table, flatten), np.arange(table.num_rows), []
    except pa.ArrowException:
        pass  # not even all that it reads can Arrow join again: a list of nulls, for one
    return _line_by_line(data, flatten)


def _flat(table: pa.Table, flatten: Sequence[str]) -> dict[str, JsonColumn]:
    columns: dict[str, JsonColumn] = {}
    for name, chunked in zip(table.column_names, table.columns, strict=True):
        array = chunked.combine_chunks()
        if name in flatten and pa.types.is_struct(array.type):
            for field, inner in zip(array.type, array.flatten(), strict=True):
                columns[f"{name}.{field.name}"] = _as_text(inner)
        else:
            columns[name] = _as_text(array)
    return columns


def _as_text(array: pa.Array) -> JsonColumn:
    type_ = array.type
    if pa.types.is_string(type_):
        return JsonColumn(array, "string")
    if pa.types.is_boolean(type_):
        return JsonColumn(pc.cast(array, pa.string()), "bool")
    if pa.types.is_integer(type_):
        return JsonColumn(pc.cast(array, pa.string()), "int")
    if pa.types.is_floating(type_):
        return JsonColumn(pc.cast(array, pa.string()), "double")
    if pa.types.is_null(type_):
        return JsonColumn(pc.cast(array, pa.string()), "string")
    if pa.types.is_timestamp(type_):  # Arrow takes "2020-01-01 10:00:00" for a time
        return JsonColumn(pc.strftime(array, format="%Y-%m-%dT%H:%M:%S"), "string")
    return JsonColumn(pa.array([_text(value) for value in array.to_pylist()], pa.string()), "string")


def _line_by_line(
    data: bytes, flatten: Sequence[str]
) -> tuple[dict[str, JsonColumn], np.ndarray, list[tuple[int, str]]]:
    records, numbers, wrong = [], [], []
    for number, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except RecursionError:
            wrong.append((number, "nested too deeply"))
        except ValueError as error:
            wrong.append((number, f"no valid JSON: {error}"))
        else:
            if isinstance(value, dict):
                records.append(_flat_record(value, flatten))
                numbers.append(number)
            else:
                wrong.append((number, "no JSON object"))
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: _python_column([record.get(name) for record in records]) for name in names}
    return columns, np.array(numbers, np.int64), wrong


def _flat_record(record: dict[str, Any], flatten: Sequence[str]) -> dict[str, Any]:
    for name in flatten:
        inner = record.get(name)
        if isinstance(inner, dict):
            record = {key: value for key, value in record.items() if key != name}
            record.update({f"{name}.{key}": value for key, value in inner.items()})
    return record


def _python_column(values: list[Any]) -> JsonColumn:
    kinds = {type(value) for value in values if value is not None}
    guess = "string"
    if kinds == {bool}:
        guess = "bool"
    elif kinds == {int}:
        guess = "int"
    elif kinds and kinds <= {int, float}:
        guess = "double"
    return JsonColumn(pa.array([_text(value) for value in values], pa.string()), guess)


def _text(value: Any) -> str | None:
    """Return a value as text: a list of plain values joined by commas, what is nested as JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # JSON may hold half a surrogate pair
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _NUMBER):
        return repr(value) if abs(value) < 10**300 else str(float("inf"))
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ",".join(_text(item) or "" for item in value)
    return json.dumps(value, default=str, sort_keys=True)
