"""How many different values a key has, estimated in bounded memory."""

import math
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Accumulator, Values
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.lists import lists_of, values_of
from tocsin.kernels.buffers import frozen
from tocsin.kernels.hll import encode
from tocsin.kernels.room import make_room
from tocsin.kernels.sketches import (
    PRECISIONS,
    add_codes,
    add_registers,
    copy_codes,
    copy_registers,
    estimates,
    forms,
    roomier,
    sketches,
)

_NOTHING = np.empty(0)


def precision(error: float, confidence: float) -> int:
    """Return the logarithm of the number of registers that keeps the relative error, at that confidence.

    The standard error of m registers is 1.04 / √m (Flajolet et al. 2007), z times that at a confidence:
    m ≥ (1.04 z / error)². (0.01, 0.95) needs 2^16, (0.03, 0.68) 2^11.
    """
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    exact = 2.0 * math.log2(1.04 * z / error)
    return min(max(math.ceil(exact), PRECISIONS[0]), PRECISIONS[-1])


class Hll(Accumulator):
    """HyperLogLog, one sketch a slot: small and nearly exact for few values, then one byte a register.

    The estimate is within `error` of the true number with probability `confidence`; a sketch that is still sparse is
    right but for rounding, mostly. It never falls as values come, and is the same whatever the split, order and
    merging. Null values do not count. See `tocsin.kernels.sketches` for the forms and references.

    State: 12 bytes a slot, 16 for up to four values, 32 for eight, 64 for sixteen, and so on up to the registers, and
    at most two thirds as much again is spare. A record costs O(1).
    """

    name = "hll"
    needs = frozenset({"hash"})

    def __init__(self, reducers: tuple[Reducer, ...]) -> None:
        super().__init__(reducers)
        options = reducers[0].options
        self._sketches = sketches(0, precision(float(options["error"]), float(options["confidence"])))

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        make_room(self._sketches.heads, slots, 0)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._sketches.heads.nbytes + self._sketches.cells.nbytes

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> np.ndarray | None:
        """Add rows."""
        assert values.hash is not None
        traced = np.empty(len(slots)) if trace else _NOTHING
        self._add_codes(slots, encode(frozen(values.hash)), traced)
        return traced if trace else None

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return `codes`: list<uint32>, of sparse sketches, sorted; `registers`: binary, of dense ones, else null."""
        lengths, dense = forms(self._sketches, slots)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        codes = pa.array(copy_codes(self._sketches, slots, starts))
        registers = copy_registers(self._sketches, slots[dense])
        return {"codes": lists_of(starts, codes), "registers": _binaries(registers, dense)}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        lengths, codes = values_of(partial["codes"])
        self._add_codes(slots.repeat(lengths), codes, _NOTHING)
        registers = partial["registers"]
        if registers.null_count < len(registers):
            slots = slots[np.asarray(registers.is_valid())]
            self._add_registers(slots, b"".join(registers.drop_null().to_pylist()))

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return the estimate as int64, 0 where there are no values."""
        return {self.reducers[0].name: pa.array(estimates(self._sketches, slots).astype(np.int64))}

    def _add_codes(self, slots: np.ndarray, codes: np.ndarray, traced: np.ndarray) -> None:
        row = 0
        slots, codes = frozen(slots), frozen(codes)
        while (row := add_codes(self._sketches, slots, codes, row, traced)) < len(slots):
            self._sketches = roomier(self._sketches)

    def _add_registers(self, slots: np.ndarray, registers: bytes) -> None:
        row = 0
        table = np.frombuffer(registers, np.uint8).reshape(len(slots), -1)
        while (row := add_registers(self._sketches, slots, table, row)) < len(slots):
            self._sketches = roomier(self._sketches)


def _binaries(rows: np.ndarray, there: np.ndarray) -> pa.Array:
    """Return rows (m, k) uint8 as binary values where `there`, (n,) bool with m of them, and null elsewhere."""
    offsets = np.concatenate([[0], np.cumsum(there * rows.shape[1])])
    valid = pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(pa.large_binary(), len(there), [valid, pa.py_buffer(offsets), pa.py_buffer(rows)])
