"""Texts of values that are known by their hash, each kept once."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Values
from tocsin.detectors.summary.room import make_room
from tocsin.kernels.buffers import plain_text, text_buffers
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.strings import NULL_HASH

_LEAST = 1024


class TextPool:
    """Value hash -> text. About 25 bytes a text, and the text itself."""

    def __init__(self) -> None:
        self._index = KeyIndex(0)
        self._offsets = np.zeros(1, np.int64)
        self._data = np.empty(0, np.uint8)
        self._size = 0
        self._settled = 0

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes + self._offsets.nbytes + self._data.nbytes

    @property
    def crowded(self) -> bool:
        """Whether there are more than twice as many texts as `only` left: time to call it again."""
        return len(self) > 2 * self._settled + _LEAST

    def add(self, hashes: np.ndarray, texts: pa.Array) -> None:
        """Keep the texts of hashes that are not known yet. hashes: (n,) uint64. texts: (n,) string, none null."""
        _, first = self._index.slots(hashes)
        if not len(first):
            return
        new = text_buffers(plain_text(texts.take(pa.array(first))))
        begin, end = int(new.offsets[0]), int(new.offsets[-1])
        known = len(self) - len(first)
        make_room(self._offsets, len(self) + 1, 0)
        make_room(self._data, self._size + end - begin, 0)
        self._offsets[known + 1 : len(self) + 1] = new.offsets[1:] + np.int64(self._size - begin)
        self._data[self._size : self._size + end - begin] = new.data[begin:end]
        self._size += end - begin

    def get(self, hashes: np.ndarray) -> pa.Array:
        """Return each hash's text, null where it is not known: (n,) string."""
        rows = self._index.find(hashes)
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._data)]
        held = pa.Array.from_buffers(pa.large_string(), len(self), buffers)
        return held.take(pa.array(rows, mask=rows < 0)).cast(pa.string())

    def only(self, hashes: np.ndarray) -> "TextPool":
        """Return a pool of these hashes' texts. hashes: (n,) uint64, known ones, repeated or not."""
        live = np.unique(hashes)
        pool = TextPool()
        pool.add(live, self.get(live))
        pool._settled = len(pool)
        return pool


def valued(slots: np.ndarray, values: Values) -> tuple[np.ndarray, np.ndarray, pa.Array, np.ndarray | slice]:
    """Return the slots, hashes and texts of the rows that have a value, and which rows those are."""
    assert values.hash is not None
    assert values.text is not None
    there = values.hash != np.uint64(NULL_HASH)
    if there.all():
        return slots, values.hash, values.text, slice(None)
    rows = np.flatnonzero(there)
    return slots[rows], values.hash[rows], values.text.take(pa.array(rows)), rows
