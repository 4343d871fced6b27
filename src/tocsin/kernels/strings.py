"""A stable 64-bit hash of text and integers, computed over Arrow's buffers.

The hash is XXH64 (Yann Collet, "xxHash fast digest algorithm", specification 0.1.1, section "XXH64 algorithm
description"), so what is kept on disk can be read by anybody. An integer is hashed as its eight little-endian bytes.
A null hashes to NULL_HASH whatever the seed.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kernels.buffers import plain_text, text_buffers
from tocsin.kernels.compiler import kernel

NULL_HASH = 0x9E3779B97F4A7C15

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
_NULL = np.uint64(NULL_HASH)


def hash_strings(values: pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """Hash each value's bytes.

    values: (n,) string, binary (also large or view) or a dictionary of them. seed: taken modulo 2**64.
    Returns (n,) uint64. Raises TypeError for other types.
    """
    out = np.empty(len(values), np.uint64)
    start = 0
    for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
        _hash_chunk(chunk, seed, out[start : start + len(chunk)])
        start += len(chunk)
    return out


def hash_columns(columns: Sequence[pa.Array]) -> tuple[np.ndarray, pa.Array]:
    """Hash columns of text of one length in one go, column j with seed j + 1, as `hash_strings` does.

    columns: L of n strings, none null. Returns hashes: (L · n,) uint64, column after column, and the texts so.
    """
    joined = pa.concat_arrays([plain_text(column) for column in columns])
    out = np.empty(len(joined), np.uint64)
    if len(out):
        offsets, data, valid, first = text_buffers(joined)
        rows = len(columns[0])
        with np.errstate(over="ignore"):  # the equations are modulo 2**64
            for at in range(0, len(out), rows):
                _hash_rows(offsets[at:], data, valid, first + at, _seed(at // rows + 1), out[at : at + rows])
    return out, joined


def hash_integers(values: np.ndarray | pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """Hash each integer as its eight little-endian bytes; a negative one in two's complement.

    values: (n,) of any integer, boolean or time type. Returns (n,) uint64. Raises TypeError for other types.
    """
    valid = None
    if isinstance(values, np.ndarray):
        array = values
    else:
        valid = pc.is_valid(values).to_numpy(zero_copy_only=False) if values.null_count else None
        array = _integers(values)
    if array.dtype.kind not in "iubmM":
        raise TypeError(f"integers expected, not {array.dtype}")
    words = np.ascontiguousarray(array if array.dtype == np.uint64 else array.astype(np.int64)).view(np.uint64)
    out = np.empty(len(words), np.uint64)
    with np.errstate(over="ignore"):  # the equations are modulo 2**64
        _hash_words(words, _seed(seed), out)
    if valid is not None:
        out[~valid] = _NULL
    return out


def _integers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if not (pa.types.is_integer(values.type) or pa.types.is_boolean(values.type) or pa.types.is_temporal(values.type)):
        raise TypeError(f"integers expected, not {values.type}")
    if pa.types.is_temporal(values.type) and values.type.bit_width == 32:
        values = values.cast(pa.int32())
    if not (pa.types.is_uint64(values.type) or pa.types.is_int64(values.type)):
        values = values.cast(pa.int64())
    filled: np.ndarray = (pc.fill_null(values, 0) if values.null_count else values).to_numpy()
    return filled


def _hash_chunk(chunk: pa.Array, seed: int, out: np.ndarray) -> None:
    if pa.types.is_dictionary(chunk.type):
        words = hash_strings(chunk.dictionary, seed)
        indices = pc.fill_null(chunk.indices, len(words)).cast(pa.int64()).to_numpy(zero_copy_only=False)
        np.take(np.append(words, _NULL), indices, out=out)
        return
    offsets, data, valid, first = text_buffers(plain_text(chunk))
    with np.errstate(over="ignore"):
        _hash_rows(offsets, data, valid, first, _seed(seed), out)


def _seed(seed: int) -> np.uint64:
    return np.uint64(seed % (1 << 64))


@kernel
def _hash_rows(offsets, data, valid, first, seed, out):
    for i in range(out.size):
        bit = first + i
        if valid.size and not (valid[bit >> 3] >> (bit & 7)) & 1:
            out[i] = _NULL
        else:
            out[i] = xxh64(data, offsets[i], offsets[i + 1], seed)


@kernel
def _hash_words(words, seed, out):
    for i in range(words.size):
        h = seed + _P5 + np.uint64(8)
        out[i] = _avalanche(_mix_word(h, words[i]))


@kernel
def xxh64(data, start, end, seed):
    """Return XXH64 of data[start:end]: uint8, positions, uint64 seed -> uint64."""
    p = np.int64(start)
    left = np.int64(end) - p
    if left >= 32:
        # Four accumulators over stripes of 32 bytes: acc' = rotl(acc + lane · P2, 31) · P1
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while np.int64(end) - p >= 32:
            a = _round(a, _read8(data, p))
            b = _round(b, _read8(data, p + 8))
            c = _round(c, _read8(data, p + 16))
            d = _round(d, _read8(data, p + 24))
            p += 32
        h = _rotl(a, 1) + _rotl(b, 7) + _rotl(c, 12) + _rotl(d, 18)
        h = _merge(_merge(_merge(_merge(h, a), b), c), d)
    else:
        h = seed + _P5
    h += np.uint64(left)
    while np.int64(end) - p >= 8:
        h = _mix_word(h, _read8(data, p))
        p += 8
    if np.int64(end) - p >= 4:
        h = _rotl(h ^ (_read4(data, p) * _P1), 23) * _P2 + _P3
        p += 4
    while p < np.int64(end):
        h = _rotl(h ^ (np.uint64(data[p]) * _P5), 11) * _P1
        p += 1
    return _avalanche(h)


@kernel
def _rotl(x, bits):
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@kernel
def _round(acc, lane):
    return _rotl(acc + lane * _P2, 31) * _P1


@kernel
def _merge(h, acc):
    return (h ^ _round(np.uint64(0), acc)) * _P1 + _P4


@kernel
def _mix_word(h, word):
    return _rotl(h ^ _round(np.uint64(0), word), 27) * _P1 + _P4


@kernel
def _avalanche(h):
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@kernel
def _read4(data, p):
    word = np.uint64(data[p]) | (np.uint64(data[p + 1]) << np.uint64(8))
    return word | (np.uint64(data[p + 2]) << np.uint64(16)) | (np.uint64(data[p + 3]) << np.uint64(24))


@kernel
def _read8(data, p):
    # The compiler makes one load of these eight.
    return (
        np.uint64(data[p])
        | (np.uint64(data[p + 1]) << np.uint64(8))
        | (np.uint64(data[p + 2]) << np.uint64(16))
        | (np.uint64(data[p + 3]) << np.uint64(24))
        | (np.uint64(data[p + 4]) << np.uint64(32))
        | (np.uint64(data[p + 5]) << np.uint64(40))
        | (np.uint64(data[p + 6]) << np.uint64(48))
        | (np.uint64(data[p + 7]) << np.uint64(56))
    )
