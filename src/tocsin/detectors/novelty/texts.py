"""Columns of any type as the text that a context learns."""

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.novelty.components import MOST_BYTES, NULL
from tocsin.records.texts import as_text

_MOST_CHARACTERS = MOST_BYTES // 4


def texts(values: pa.Array) -> pa.StringArray:
    """Return values as text, none of them null: nulls as `null`, whole floats without their point, times as RFC 3339.

    The same as `components.text_of` of each value. A text that is too long for a component is cut off.
    """
    found = _texts(values)
    if found.null_count:
        found = pc.fill_null(found, NULL)
    if found.nbytes > MOST_BYTES and pc.max(pc.binary_length(found)).as_py() > MOST_BYTES:
        found = pc.utf8_slice_codeunits(found, 0, _MOST_CHARACTERS)
    return found


def _texts(values: pa.Array) -> pa.Array:
    type_ = values.type
    if pa.types.is_string(type_):
        return values
    if pa.types.is_dictionary(type_):
        known = _texts(values.dictionary)
        return known.take(values.indices)
    if pa.types.is_null(type_):
        return pa.nulls(len(values), pa.string())
    if pa.types.is_floating(type_):
        return _numbers(values)
    if pa.types.is_nested(type_) or pa.types.is_binary(type_):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    return as_text(values)


def _numbers(values: pa.Array) -> pa.Array:
    """Write floats, whole ones as whole numbers."""
    values = pc.cast(values, pa.float64())
    whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53))
    if pc.all(whole, min_count=0).as_py():
        return pc.cast(pc.cast(values, pa.int64()), pa.string())
    as_whole = pc.cast(pc.cast(pc.if_else(whole, values, None), pa.int64()), pa.string())
    written = pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    return pc.coalesce(as_whole, written)
