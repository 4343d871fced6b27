"""Text columns become typed columns, a whole array at a time; a value that cannot be converted becomes null.

The caller tells a bad value from a missing one by looking where the text was not null.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.flow import TIMESTAMP

Converter = Callable[[pa.Array], pa.Array]

_COUNT = r"^[0-9]{1,20}$"
_INTEGER = r"^[+-]?[0-9]{1,19}$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_ISO = r"^[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T ]?"
_EARLIEST_US = 0
_LATEST_US = 4_102_444_800_000_000  # 2100-01-01
_YEARS_US = (-62_135_596_800_000_000, 253_402_300_800_000_000)  # the years 1 to 9999
_HEX_PORT = r"^0[xX][0-9a-fA-F]{1,4}$"


def counts(values: pa.Array) -> pa.Array:
    """Return non-negative whole numbers, uint64."""
    return _cast(values, pa.uint64(), _COUNT)


def integers(values: pa.Array) -> pa.Array:
    """Return whole numbers, int64."""
    return _cast(values, pa.int64(), _INTEGER)


def ports(values: pa.Array) -> pa.Array:
    """Return ports, 0 to 65535, uint16; `0x0303` is read as hexadecimal."""
    if pc.any(pc.match_substring(values, "x")).as_py():
        is_hex = pc.match_substring_regex(values, _HEX_PORT)
        values = pc.if_else(pc.fill_null(is_hex, fill_value=False), _from_hex(values, is_hex), values)
    return _cast(values, pa.uint16(), _COUNT)


def numbers(values: pa.Array) -> pa.Array:
    """Return finite numbers, float64."""
    cast = _cast(values, pa.float64(), _NUMBER)
    return _keep(cast, pc.is_finite(cast))


def seconds(values: pa.Array) -> pa.Array:
    """Return durations in seconds, float64, not negative."""
    cast = numbers(values)
    return _keep(cast, pc.greater_equal(cast, 0.0))


def booleans(values: pa.Array) -> pa.Array:
    """Return truth values written T and F, or true and false."""
    lower = pc.utf8_lower(values)
    true = pc.is_in(lower, pa.array(["t", "true", "1"]))
    false = pc.is_in(lower, pa.array(["f", "false", "0"]))
    return _keep(true, pc.or_(true, false))


def texts(values: pa.Array) -> pa.Array:
    """Return text as it is."""
    return values


def lower_texts(values: pa.Array) -> pa.Array:
    """Return text in lower case."""
    return pc.utf8_lower(values)


def times(values: pa.Array) -> pa.Array:
    """Return times in UTC, microseconds, from 1970 to 2100.

    Understands seconds since 1970 (`1545403816.962094`), ISO 8601 with or without an offset (without: UTC), and
    `2011/08/10 09:46:59.607825`.
    """
    return within_range(_times(values))


def any_times(values: pa.Array) -> pa.Array:
    """Return times as `times` does, of the years 1 to 9999: certificates run out late, clocks of others go wrong."""
    return within_range(_times(values), *_YEARS_US)


def _times(values: pa.Array) -> pa.Array:
    try:
        return _from_seconds(pc.cast(values, pa.float64()))
    except pa.ArrowInvalid:
        pass
    is_number = pc.fill_null(pc.match_substring_regex(values, _NUMBER), fill_value=False)
    is_iso = pc.fill_null(pc.match_substring_regex(values, _ISO), fill_value=False)
    from_epoch = _from_seconds(_cast(_keep(values, is_number), pa.float64(), _NUMBER))
    return pc.coalesce(from_epoch, _iso_times(_keep(values, is_iso)))


def epoch_times(values: pa.Array) -> pa.Array:
    """Return times from 1970 to 2100 from seconds since 1970 (float64), rounded to microseconds."""
    return within_range(_from_seconds(values))


def _from_seconds(values: pa.Array) -> pa.Array:
    fits = pc.and_(pc.is_finite(values), pc.less(pc.abs(values), 1e12))
    microseconds = pc.round(pc.multiply(_keep(values, fits), 1e6))
    return pc.cast(pc.cast(microseconds, pa.int64()), TIMESTAMP)


def within_range(values: pa.Array, earliest_us: int = _EARLIEST_US, latest_us: int = _LATEST_US) -> pa.Array:
    """Return these times (UTC, microseconds) with null in place of those before 1970 or from 2100 on."""
    stamps = pc.cast(values, pa.int64())
    return _keep(values, pc.and_(pc.greater_equal(stamps, earliest_us), pc.less(stamps, latest_us)))


def saturate(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return non-negative numbers as an unsigned type, cut off at its largest value."""
    most = (1 << type_.bit_width) - 1
    if not pa.types.is_floating(values.type):
        values = pc.cast(values, pa.float64())
    return pc.cast(pc.round(pc.min_element_wise(values, float(most), skip_nulls=False)), type_, safe=False)


def _keep(values: pa.Array, mask: pa.Array) -> pa.Array:
    """Return values with null where the mask is false; null where the value is."""
    mask = pc.fill_null(mask, fill_value=False)
    if pc.all(mask).as_py():
        return values
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _cast(values: pa.Array, type_: pa.DataType, pattern: str) -> pa.Array:
    try:
        return pc.cast(values, type_)
    except pa.ArrowInvalid:
        values = pc.utf8_trim_whitespace(values)
        values = _keep(values, pc.match_substring_regex(values, pattern))
    try:
        return pc.cast(values, type_)
    except pa.ArrowInvalid:  # some are too large: look at each different value
        coded = values.dictionary_encode()
        return pa.DictionaryArray.from_arrays(coded.indices, _one_by_one(coded.dictionary, type_)).dictionary_decode()


def _one_by_one(values: pa.Array, type_: pa.DataType) -> pa.Array:
    converted = []
    for value in values:
        try:
            converted.append(pc.cast(value, type_))
        except pa.ArrowInvalid:
            converted.append(pa.scalar(None, type_))
    return pa.array([value.as_py() for value in converted], type_)


def _iso_times(values: pa.Array) -> pa.Array:
    """Convert ISO 8601 text; a value without an offset is in UTC."""
    values = pc.replace_substring_regex(values, r"^([0-9]{4})/([0-9]{2})/", r"\1-\2-")
    values = pc.replace_substring_regex(values, r"(\.[0-9]{6})[0-9]+", r"\1")  # microseconds are kept
    has_zone = pc.fill_null(pc.match_substring_regex(values, r"(Z|[+-][0-9]{2}:?[0-9]{2})$"), fill_value=False)
    values = pc.if_else(has_zone, values, pc.binary_join_element_wise(values, "Z", ""))
    try:
        return pc.cast(values, TIMESTAMP)
    except pa.ArrowInvalid:
        return _one_by_one(values, TIMESTAMP)


def _from_hex(values: pa.Array, mask: pa.Array) -> pa.Array:
    coded = _keep(values, mask).dictionary_encode()
    decoded = pa.array([str(int(value, 16)) for value in coded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(coded.indices, decoded).dictionary_decode()


def bad_values(text: pa.Array, converted: pa.Array) -> np.ndarray:
    """Return where text was there but could not be converted: (n,) bool."""
    if converted.null_count == text.null_count:
        return np.zeros(len(text), bool)
    return np.asarray(pc.and_(pc.is_valid(text), pc.is_null(converted)))
