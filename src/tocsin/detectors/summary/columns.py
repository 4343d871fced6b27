"""Selected columns as what accumulators take: keys, numbers, hashes, texts, times."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kernels.strings import hash_integers, hash_strings
from tocsin.records.convert import numbers
from tocsin.records.texts import as_text

GLOBAL_KEY = np.uint64(0)


def key_hashes(parts: Iterable[pa.Array], rows: int) -> np.ndarray:
    """Return each row's key as (n,) uint64: the hash of one part, a mix of several, GLOBAL_KEY without any."""
    mixed: np.ndarray | None = None
    for part in parts:
        hashed = value_hashes(part)
        turned = None if mixed is None else (mixed << np.uint64(7)) | (mixed >> np.uint64(57))
        mixed = hashed if turned is None else hash_integers(turned ^ hashed)
    return np.full(rows, GLOBAL_KEY) if mixed is None else mixed


def value_hashes(values: pa.Array) -> np.ndarray:
    """Return each value's hash, (n,) uint64: whole numbers as such, anything else as text, null as NULL_HASH."""
    if pa.types.is_integer(values.type):
        return hash_integers(values)
    return hash_strings(as_text(values))


def as_numbers(values: pa.Array) -> np.ndarray:
    """Return values as (n,) float64, NaN where there is none; durations in seconds, text where it is a number."""
    if pa.types.is_duration(values.type):
        seconds = pc.cast(pc.cast(values, pa.duration("us")), pa.int64())
        return as_numbers(seconds) / 1e6
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = numbers(pc.cast(values, pa.string()))
    elif pa.types.is_timestamp(values.type):
        values = pc.cast(pc.cast(values, pa.timestamp("us")), pa.int64())
    elif not pa.types.is_floating(values.type) or values.type != pa.float64():
        values = pc.cast(values, pa.float64(), safe=False)
    array: np.ndarray = values.to_numpy(zero_copy_only=False)
    return array


def times_us(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return times as (n,) int64 microseconds since 1970 UTC, and where there is one, (n,) bool."""
    if pa.types.is_string(values.type):
        from tocsin.records.convert import times

        values = times(values)
    elif not pa.types.is_timestamp(values.type):
        values = pc.cast(pc.multiply(pc.cast(values, pa.float64(), safe=False), 1e6), pa.int64(), safe=False)
    if pa.types.is_timestamp(values.type):
        if values.type.unit != "us":
            values = pc.cast(values, pa.timestamp("us", values.type.tz), safe=False)
        values = values.view(pa.int64())
    if not values.null_count:
        return values.to_numpy(), np.ones(len(values), bool)
    there = np.asarray(pc.is_valid(values))
    return pc.fill_null(values, 0).to_numpy(), there


def possible_keys(names: Iterable[str], key: dict[str, Any]) -> np.ndarray:
    """Return the hashes a key given by a person may have: digits may be text, or a whole number in the column."""
    choices: list[list[pa.Array]] = [[]]
    for name in names:
        text = None if key[name] is None else str(key[name])
        forms = [pa.array([text], pa.string())]
        if text is not None and text.lstrip("-").isdigit() and abs(int(text)) < 1 << 63:
            forms.append(pa.array([int(text)], pa.int64()))
        choices = [[*chosen, form] for chosen in choices for form in forms]
    return np.concatenate([key_hashes(chosen, 1) for chosen in choices])
