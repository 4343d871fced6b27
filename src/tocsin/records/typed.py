"""Typed columns of other tables become our columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.convert import within_range
from tocsin.records.flow import FLOW, TIMESTAMP
from tocsin.records.maps import canonical


def typed(values: pa.Array, name: str) -> tuple[pa.Array, list[int]]:
    """Return a column of any type as our column of this name, and the rows whose value does not fit (null there).

    Numbers are rounded to whole ones where ours is whole; a time without a zone is UTC; a number for a time is
    seconds since 1970.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    converted = _convert(values, FLOW[name].type, name)
    bad = np.flatnonzero(np.asarray(pc.and_(pc.is_valid(values), pc.is_null(converted)))).tolist()
    return converted, bad


def _convert(values: pa.Array, wanted: pa.DataType, name: str) -> pa.Array:
    given = values.type
    if pa.types.is_null(given):
        return pa.nulls(len(values), wanted)
    if wanted == TIMESTAMP and (pa.types.is_timestamp(given) or pa.types.is_date(given)):
        return within_range(_to_utc(values))
    if given == wanted and name != "proto":
        return values
    if pa.types.is_large_string(given) or pa.types.is_binary(given) or _is_view(given):
        values = pc.cast(values, pa.string())
    elif _is_number(given) and pa.types.is_integer(wanted):
        return _whole(values, wanted)
    elif not pa.types.is_string(given):
        values = _as_text(values)
    return canonical(name).convert(values)


def _is_view(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(type_))


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def _to_utc(values: pa.Array) -> pa.Array:
    """Return times in microseconds, UTC; what is finer is cut off."""
    if pa.types.is_timestamp(values.type) and values.type.tz is None:
        values = pc.assume_timezone(values, "UTC")
    return pc.cast(values, TIMESTAMP, safe=False)


def _whole(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Round to whole numbers; null where the type cannot hold them."""
    if pa.types.is_integer(values.type):
        try:
            return pc.cast(values, wanted)
        except pa.ArrowInvalid:
            pass
    rounded = pc.round(pc.cast(values, pa.float64(), safe=False))
    signed = pa.types.is_signed_integer(wanted)
    low = -(2.0 ** (wanted.bit_width - 1)) if signed else 0.0
    high = 2.0 ** (wanted.bit_width - (1 if signed else 0))
    fits = pc.fill_null(pc.and_(pc.greater_equal(rounded, low), pc.less(rounded, high)), fill_value=False)
    return pc.cast(pc.if_else(fits, rounded, pa.scalar(None, pa.float64())), wanted, safe=False)


def _as_text(values: pa.Array) -> pa.Array:
    try:
        return pc.cast(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
