"""The values of a context, each a number: a text in one component is another value than the same text in the next."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tocsin.detector import State
from tocsin.detectors.novelty.shape import MARKERS
from tocsin.kernels.strings import hash_columns
from tocsin.kernels.texts import TextPool

_RESERVED = MARKERS + 1

_KINDS = (np.uint64, np.int64, np.uint8)

OTHERS_TEXT = "(others)"


class ValueNumbers:
    """Values by number. The first MARKERS + 1 numbers are taken by what is no value."""

    def __init__(self) -> None:
        self._texts = TextPool()
        names = [OTHERS_TEXT] + [""] * MARKERS
        self._texts.add(np.arange(_RESERVED, dtype=np.uint64), pa.array(names, pa.string()))

    def __len__(self) -> int:
        return len(self._texts) - _RESERVED

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._texts.nbytes

    @property
    def hashes(self) -> np.ndarray:
        """The hash of every value, by number: (size,) uint64."""
        return self._texts.hashes

    def numbers(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return the numbers of observations' values, giving new ones: L columns of n texts -> (n, L) int32."""
        hashes, texts = hash_columns(columns)
        return self._texts.add(hashes, texts).reshape(len(columns), -1).T

    def find(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return the numbers of observations' values, -1 for what is not known: (n, L) int32."""
        hashes, _ = hash_columns(columns)
        return self._texts.numbers(hashes).reshape(len(columns), -1).T

    def state(self) -> State:
        """Return the values as members of a state."""
        hashes, offsets, data = self._texts.arrays()
        return {"hashes": hashes, "offsets": offsets, "texts": data}

    @classmethod
    def of(cls, state: State) -> "ValueNumbers":
        """Return the values that a state has. Raises ValueError when its parts do not fit."""
        values, parts = cls(), (state["hashes"], state["offsets"], state["texts"])
        if any(part.dtype != kind or part.ndim != 1 for part, kind in zip(parts, _KINDS, strict=True)):
            raise ValueError("hashes, offsets and bytes of texts are not what they should be")
        if not np.array_equal(parts[0][:_RESERVED], values.hashes):
            raise ValueError("the first values are not those that stand for none")
        values._texts = TextPool.of(*parts)
        values.texts(np.arange(len(values.hashes), dtype=np.int32)).validate(full=True)
        return values

    def absorb(self, other: "ValueNumbers", used: np.ndarray) -> np.ndarray:
        """Take in another's values; return the number here of each number there, (size,) int32, -1 where not taken.

        used: (k,) of its numbers, repeated or not.
        """
        taken = np.unique(np.concatenate([np.arange(_RESERVED), used.ravel()]))
        here = np.full(len(other.hashes), -1, np.int32)
        here[taken] = self._texts.add(other.hashes[taken], other.texts(taken.astype(np.int32)))
        return here

    def texts(self, numbers: np.ndarray) -> pa.Array:
        """Return the texts of values: (n,) int32 -> n strings."""
        return self._texts.texts(numbers)
