"""Texts of values that are known by their hash, each kept once."""

import numpy as np
import pyarrow as pa

from tocsin.kernels.buffers import plain_text, text_buffers
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.room import make_room

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

    def add(self, hashes: np.ndarray, texts: pa.Array) -> np.ndarray:
        """Keep the texts of hashes that are not known yet; return each one's number, from 0 in order of appearance.

        hashes: (n,) uint64. texts: (n,) string, none null. Returns (n,) int32.
        """
        numbers, first = self._index.slots(hashes)
        if not len(first):
            return numbers
        new = text_buffers(plain_text(texts.take(pa.array(first))))
        begin, end = int(new.offsets[0]), int(new.offsets[-1])
        known = len(self) - len(first)
        make_room(self._offsets, len(self) + 1, 0)
        make_room(self._data, self._size + end - begin, 0)
        self._offsets[known + 1 : len(self) + 1] = new.offsets[1:] + np.int64(self._size - begin)
        self._data[self._size : self._size + end - begin] = new.data[begin:end]
        self._size += end - begin
        return numbers

    def numbers(self, hashes: np.ndarray) -> np.ndarray:
        """Return each hash's number, -1 where it is not known: (n,) int32."""
        return self._index.find(hashes)

    @property
    def hashes(self) -> np.ndarray:
        """Every hash, by number: (size,) uint64; a view."""
        return self._index.keys

    def get(self, hashes: np.ndarray) -> pa.Array:
        """Return each hash's text, null where it is not known: (n,) string."""
        return self.texts(self._index.find(hashes))

    def texts(self, numbers: np.ndarray) -> pa.Array:
        """Return the texts with these numbers, null for a negative one: (n,) string."""
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._data)]
        held = pa.Array.from_buffers(pa.large_string(), len(self), buffers)
        return held.take(pa.array(numbers, mask=numbers < 0)).cast(pa.string())

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies of the hashes (n,) uint64, offsets (n + 1,) int64 and bytes uint8 of all texts, by number."""
        return self.hashes.copy(), self._offsets[: len(self) + 1].copy(), self._data[: self._size].copy()

    @classmethod
    def of(cls, hashes: np.ndarray, offsets: np.ndarray, data: np.ndarray) -> "TextPool":
        """Return the pool that `arrays` told of. Raises ValueError when the parts do not fit."""
        if (
            len(offsets) != len(hashes) + 1
            or offsets[0] != 0
            or offsets[-1] != len(data)
            or (np.diff(offsets) < 0).any()
        ):
            raise ValueError("offsets and bytes of texts do not fit")
        pool = cls()
        pool._index.slots(np.ascontiguousarray(hashes, np.uint64))
        if len(pool) != len(hashes):
            raise ValueError("hashes of texts are not all different")
        pool._offsets, pool._data = np.array(offsets, np.int64), np.array(data, np.uint8)
        pool._size = len(data)
        return pool

    def only(self, hashes: np.ndarray) -> "TextPool":
        """Return a pool of these hashes' texts. hashes: (n,) uint64, known ones, repeated or not."""
        live = np.unique(hashes)
        pool = TextPool()
        pool.add(live, self.get(live))
        pool._settled = len(pool)
        return pool
