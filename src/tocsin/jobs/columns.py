"""Columns of text as plain bytes, for the journal: a row costs a microsecond, a thousand rows a tenth of one each.

payload   time, int64, microseconds since 1970 · rows, uint32 · columns, uint16 · bytes of the key, uint16 · key ·
          times, int64 each, if they are of their own · content                            (all little-endian)
content   lengths in bytes, int32: every row of the first column, of the second … · the texts in the same order
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.texts import texts as texts_of
from tocsin.errors import InputError

_HEAD = struct.Struct("<qIHH")
_STRING = pa.string()


def as_texts(columns: Sequence[Any]) -> list[pa.Array]:
    """Return columns as string arrays without nulls, untouched where they are that already. Raises InputError."""
    texts = [_as_text(column) for column in columns]
    rows = {len(column) for column in texts}
    if len(rows) > 1:
        raise InputError(f"columns have {' and '.join(map(str, sorted(rows)))} rows; all need the same number")
    if not rows:
        raise InputError("an observation needs one component at least")
    return texts


def _as_text(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if column.type == _STRING and not column.null_count else texts_of(column).cast(_STRING)


def encode(columns: Sequence[pa.Array]) -> bytes:
    """Return the content of (L,) string columns of n rows."""
    if len(columns[0]) == 1:
        values = [column.to_pylist()[0].encode() for column in columns]
        return struct.pack(f"<{len(values)}i", *map(len, values)) + b"".join(values)
    lengths, texts = [], []
    for column in columns:
        _, offsets, data = column.buffers()
        if len(column):
            bounds = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset)
            lengths.append(np.diff(bounds).data)
            texts.append(memoryview(data)[bounds[0] : bounds[-1]] if data is not None else b"")
    return b"".join((*lengths, *texts))


def payload(content: bytes, rows: int, columns: int, time_us: int | np.ndarray, key: bytes = b"") -> bytes:
    """Return what is written of observations: when, under which key, what."""
    if isinstance(time_us, np.ndarray):
        times = np.ascontiguousarray(time_us, np.int64).tobytes()
        return b"".join((_HEAD.pack(0, rows, columns, len(key)), key, times, content))
    return b"".join((_HEAD.pack(time_us, rows, columns, len(key)), key, content))


@dataclass
class Batch:
    """Observations that were read back.

    columns: L arrays of n strings; times_us: (n,) int64; keys: of each request that had one, its first row, its rows,
    the key and the content.
    """

    columns: list[pa.Array]
    times_us: np.ndarray
    keys: list[tuple[int, int, bytes, bytes]]


class Gathered:
    """Payloads of one context, in order and of as many columns, to be read back as one batch.

    Rows that came one by one are put together without a look at each: texts that lie row by row are one array, of
    which every L-th is a column. Kept as bytes in lists, which the garbage collector does not walk.
    """

    def __init__(self) -> None:
        self.rows = self.nbytes = self.columns = 0
        self._rows: list[int] = []
        self._times: list[bytes] = []
        self._contents: list[bytes] = []
        self._keys: list[tuple[int, int, bytes, bytes]] = []

    def fits(self, payload: memoryview) -> bool:
        """Tell whether a payload has as many columns as those that are here."""
        return not self._rows or _HEAD.unpack_from(payload)[2] == self.columns

    def add(self, payload: memoryview, has_times: bool) -> None:
        """Take a payload. Raises struct.error when it is none."""
        _, rows, self.columns, key_bytes = _HEAD.unpack_from(payload)
        start = _HEAD.size + key_bytes
        end = start + 8 * rows if has_times else start
        content = bytes(payload[end:])
        if key_bytes:
            self._keys.append((self.rows, rows, bytes(payload[_HEAD.size : start]), content))
        self._rows.append(rows)
        self._times.append(bytes(payload[start:end] if has_times else payload[:8]))
        self._contents.append(content)
        self.rows += rows
        self.nbytes += len(payload)

    def batch(self) -> Batch:
        """Return all that was taken."""
        parts = [_read(self._contents[begin:end], self._rows[begin], self.columns) for begin, end in self._runs()]
        joined = [pa.concat_arrays(each) for each in zip(*parts, strict=True)]
        return Batch(joined, self._all_times(), self._keys)

    def _runs(self) -> list[tuple[int, int]]:
        """Return where parts of one row each follow one another, and every other part alone."""
        alone = np.array(self._rows) != 1
        starts = np.flatnonzero(alone[1:] | alone[:-1]) + 1
        return list(pairwise([0, *starts.tolist(), len(alone)]))

    def _all_times(self) -> np.ndarray:
        times, rows = np.frombuffer(b"".join(self._times), np.int64), np.array(self._rows)
        each = np.array([len(part) for part in self._times]) // 8
        # One time for all rows of a part is said as often as it has rows.
        return times if (each == rows).all() else np.repeat(times, np.repeat(np.where(each == rows, 1, rows), each))


def _read(contents: list[bytes], rows: int, columns: int) -> list[pa.Array]:
    head = 4 * columns * rows
    lengths = np.frombuffer(b"".join([each[:head] for each in contents]), np.int32)
    texts = pa.py_buffer(b"".join([each[head:] for each in contents]))
    if len(contents) > 1:
        every = _strings(lengths, texts)
        return [every.take(pa.array(np.arange(index, len(lengths), columns))) for index in range(columns)]
    ends = np.concatenate(([0], np.cumsum(lengths.reshape(columns, rows).sum(1))))
    slices = zip(lengths.reshape(columns, rows), ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    return [_strings(each, texts.slice(begin, end - begin)) for each, begin, end in slices]


def _strings(lengths: np.ndarray, texts: pa.Buffer) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), texts)
