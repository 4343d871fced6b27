"""Observations as they come in programs and JSON, turned into one column a component."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.novelty.options import MOST_COMPONENTS
from tocsin.errors import InputError

NULL = "null"
"""The text that a null counts as."""

MOST_BYTES = 65_536
"""The longest value, in bytes of UTF-8."""


def columns_of(observations: Sequence[Sequence[Any]]) -> list[pa.Array]:
    """Return (L,) columns of n strings from n observations of L components; numbers and nulls are taken as text.

    Raises InputError, naming row and component, when an observation is no list, lengths differ, or a component is
    neither text, number, boolean nor null.
    """
    length = len(observations[0]) if observations and isinstance(observations[0], list | tuple) else 0
    try:
        are_lists = set(map(type, observations)) <= {list, tuple}  # a text has a length too
        if are_lists and set(map(len, observations)) == {length} and 0 < length <= MOST_COMPONENTS:
            columns = [pa.array(column, pa.string()) for column in zip(*observations, strict=True)]
            if not any(column.null_count or _is_long(column) for column in columns):
                return columns
    except (TypeError, ValueError, pa.ArrowException):
        pass  # something in it is no text: said, or turned into text, below
    rows = [_texts(row, observation, length) for row, observation in enumerate(observations)]
    return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]


def _is_long(column: pa.Array) -> bool:
    return column.nbytes > MOST_BYTES and bool(pc.max(pc.binary_length(column)).as_py() > MOST_BYTES)


def _texts(row: int, observation: Any, length: int) -> list[str]:
    if not isinstance(observation, list | tuple):
        raise InputError(f"[{row}]: an observation is a list of values, not {_said(observation)}")
    if not 0 < len(observation) <= MOST_COMPONENTS:
        raise InputError(f"[{row}]: an observation has 1 to {MOST_COMPONENTS} components, not {len(observation)}")
    if len(observation) != length:
        raise InputError(f"[{row}]: it has {len(observation)} components, the first has {length}; all need the same")
    return [text_of(value, f"[{row}][{index}]") for index, value in enumerate(observation)]


def text_of(value: Any, where: str) -> str:
    """Return a component as text: `5` and `"5"` are the same, whole floats lose their point. Raises InputError."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: a component is text, a number, a boolean or null, not {_said(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: this text is no valid Unicode ({error.reason})") from error
    if size > MOST_BYTES:
        raise InputError(f"{where}: a component has at most {MOST_BYTES} bytes, not {size}")
    return value


def _said(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
