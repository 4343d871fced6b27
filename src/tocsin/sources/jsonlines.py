"""Lines of JSON as columns: nested records flattened by name, bad lines set aside."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

_NUMBER = (int, float)


@dataclass(frozen=True)
class JsonColumn:
    """A field's values, as they were where they are plain, else as text.

    guess: Zeek's word for the type they had: int, double, bool or string; null where there was none.
    """

    values: pa.Array
    guess: str

    @cached_property
    def text(self) -> pa.Array:
        """The values as text."""
        return self.values if pa.types.is_string(self.values.type) else pc.cast(self.values, pa.string())


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
    data: bytes, flatten: Sequence[str] | None = ()
) -> tuple[dict[str, JsonColumn], np.ndarray, list[tuple[int, str]]]:
    """Read JSON objects, one a line.

    flatten: fields whose own fields become columns, `flow` -> `flow.start`; None: all of them, to any depth.
    Returns the columns by name; each record's number among the lines, (n,) int64, 0-based; the lines that are no
    record as (number, reason).
    """
    try:
        table = _as_written(data, _read(data, {}))
        if table.num_rows == data.count(b"\n") + (0 if data.endswith(b"\n") else 1):
            return _flat(table, flatten), np.arange(table.num_rows), []
    except pa.ArrowException:
        pass  # not even all that it reads can Arrow join again: a list of nulls, for one
    return _line_by_line(data, flatten)


def _read(data: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(data),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(types.items()) if types else None),
    )


def _as_written(data: bytes, table: pa.Table) -> pa.Table:
    """Read again as text what Arrow took for times ("2020-01-01"): a field's type must not depend on other lines."""
    texts = {field.name: _without_times(field.type) for field in table.schema}
    changed = {field.name: texts[field.name] for field in table.schema if texts[field.name] != field.type}
    return _read(data, changed) if changed else table


def _without_times(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(type_):
        return pa.string()
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _without_times(field.type)) for field in type_])
    if pa.types.is_list(type_):
        return pa.list_(_without_times(type_.value_type))
    return type_


def _flat(table: pa.Table, flatten: Sequence[str] | None) -> dict[str, JsonColumn]:
    columns: dict[str, JsonColumn] = {}
    for name, chunked in zip(table.column_names, table.columns, strict=True):
        array = chunked.combine_chunks()
        if pa.types.is_struct(array.type) and (flatten is None or name in flatten):
            _flatten(columns, name, array, deep=flatten is None)
        else:
            columns[name] = _column(array)
    return columns


def _flatten(columns: dict[str, JsonColumn], name: str, array: pa.Array, *, deep: bool) -> None:
    for field, inner in zip(array.type, array.flatten(), strict=True):
        if deep and pa.types.is_struct(field.type):
            _flatten(columns, f"{name}.{field.name}", inner, deep=True)
        else:
            columns[f"{name}.{field.name}"] = _column(inner)


def _column(array: pa.Array) -> JsonColumn:
    type_ = array.type
    if pa.types.is_string(type_):
        return JsonColumn(array, "string")
    if pa.types.is_boolean(type_):
        return JsonColumn(array, "bool")
    if pa.types.is_integer(type_):
        return JsonColumn(array, "int")
    if pa.types.is_floating(type_):
        return JsonColumn(array, "double")
    if pa.types.is_null(type_):
        return JsonColumn(pc.cast(array, pa.string()), "null")
    return JsonColumn(pa.array([as_text(value) for value in array.to_pylist()], pa.string()), "string")


def _line_by_line(
    data: bytes, flatten: Sequence[str] | None
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


def _flat_record(record: dict[str, Any], flatten: Sequence[str] | None) -> dict[str, Any]:
    if flatten is None:
        return dict(leaves(record, ""))
    for name in flatten:
        inner = record.get(name)
        if isinstance(inner, dict):
            record = {key: value for key, value in record.items() if key != name}
            record.update({f"{name}.{key}": value for key, value in inner.items()})
    return record


def leaves(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record and of those inside it, under names with dots between them."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _python_column(values: list[Any]) -> JsonColumn:
    kinds = {type(value) for value in values if value is not None}
    guess = "string" if kinds else "null"
    if kinds == {bool}:
        return JsonColumn(pa.array(values, pa.bool_()), "bool")
    if kinds == {int}:
        guess = "int"
    elif kinds and kinds <= {int, float}:
        guess = "double"
    return JsonColumn(pa.array([as_text(value) for value in values], pa.string()), guess)


def as_text(value: Any) -> str | None:
    """Return a value as text: a list of plain values joined by commas, what is nested as JSON.

    A whole number is written as one, 443.0 too: what it reads as must not depend on the lines beside it, which decide
    whether a column is one of numbers.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # JSON may hold half a surrogate pair
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, _NUMBER):
        return repr(value) if abs(value) < 10**300 else str(float("inf"))
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ",".join(as_text(item) or "" for item in value)
    return json.dumps(value, default=str, sort_keys=True)
