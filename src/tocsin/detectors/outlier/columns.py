"""Columns as arrays: any Arrow column as floats, or as bucket numbers of its categories."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kernels.addresses import Addresses, format_addresses, parse_addresses, prefixes
from tocsin.kernels.strings import hash_integers, hash_strings

_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_SECONDS = 3600


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as (n,) float32 or float64 (or integers where none is missing), not-a-number where it is null.

    Text that is no number, and types that have no order, count as null.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
        numeric = pc.match_substring_regex(column, _NUMBER)
        column = pc.utf8_trim_whitespace(pc.if_else(numeric, column, None)).cast(pa.float64())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
    elif pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.full(len(column), np.nan)
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values


def text_buckets(column: pa.ChunkedArray, modulus: int, seed: int) -> tuple[np.ndarray, pa.Array]:
    """Return (n,) int64 bucket numbers of a column's values, `modulus` for null, and the (n,) values as text."""
    column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        buckets = (hash_integers(column, seed) % np.uint64(modulus)).astype(np.int64)
    else:
        column = _as_text(column)
        buckets = (hash_strings(column, seed) % np.uint64(modulus)).astype(np.int64)
    return _set_null(buckets, column, modulus), column


EPHEMERAL = 32768
"""First of the ports that systems hand out by turns (RFC 6056, section 2.1): which one it was says nothing."""


def port_buckets(column: pa.ChunkedArray) -> np.ndarray:
    """Return (n,) int64 ports, 65536 where there is none; all from EPHEMERAL on are one."""
    values = numbers(column).astype(np.float64)
    valid = (values >= 0) & (values < 65536)
    return np.where(valid, np.minimum(values, EPHEMERAL), 65536).astype(np.int64)


def address_buckets(
    column: pa.ChunkedArray, ipv4_prefix: int, ipv6_prefix: int, modulus: int, seed: int
) -> tuple[np.ndarray, Addresses]:
    """Return (n,) int64 bucket numbers of the networks of addresses, `modulus` for none, and the networks."""
    column = _as_text(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    found = prefixes(parse_addresses(column), ipv4_prefix, ipv6_prefix)
    high, low = hash_integers(found.hi, seed), hash_integers(found.lo, seed + 1)
    buckets = ((high ^ (low * np.uint64(3))) % np.uint64(modulus)).astype(np.int64)
    buckets[found.family == 0] = modulus
    return buckets, found


def network_text(found: Addresses, ipv4_prefix: int, ipv6_prefix: int) -> list[str]:
    """Write networks with their length, '' where there is none."""
    bits = {4: ipv4_prefix, 6: ipv6_prefix}
    texts = format_addresses(found).to_pylist()
    return [f"{text}/{bits[int(family)]}" if text else "" for text, family in zip(texts, found.family, strict=True)]


def hour_buckets(column: pa.ChunkedArray) -> np.ndarray:
    """Return (n,) int64 hours of the day in UTC, 24 where there is no time. Numbers are seconds since 1970."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        hours = pc.hour(column.cast(pa.timestamp("us", tz="UTC")) if kind.tz else column)
        return np.asarray(pc.fill_null(hours, 24).to_numpy()).astype(np.int64)
    seconds = numbers(column).astype(np.float64)
    with np.errstate(invalid="ignore"):
        hours = np.floor(seconds / _SECONDS) % 24
    return np.where(np.isfinite(hours), hours, 24).astype(np.int64)


def _as_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Lists, structs and bytes that are no text: by what they print.
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def _set_null(buckets: np.ndarray, column: pa.Array, null: int) -> np.ndarray:
    if column.null_count or pa.types.is_dictionary(column.type):
        buckets[~np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False))] = null
    return buckets
