"""The arrays under accumulators that keep several entries of a slot: columns over slots, columns over entries."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tocsin.kernels.blocks import SIZES
from tocsin.kernels.room import make_room


class Blocks:
    """Columns over slots, and over the entries in the slots' blocks (see `kernels.blocks`); both get longer on demand.

    per_slot: column name -> dtype; new slots are 0. `at`, `room` and `used` come first by themselves.
    per_entry: column name -> dtype. wide: columns that have several cells an entry.
    """

    def __init__(self, per_slot: dict[str, Any], per_entry: dict[str, Any], wide: dict[str, int] | None = None) -> None:
        slots = {"at": np.int64, "room": np.int32, "used": np.int32, **per_slot}
        self.slot = {name: np.zeros(0, dtype) for name, dtype in slots.items()}
        self.entry = {name: np.empty(0, dtype) for name, dtype in per_entry.items()}
        self._wide = wide or {}
        self._length = 0
        self._free = np.append(np.full(SIZES, -1), 0)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All columns as kernels take them: over slots, free blocks, over entries."""
        return (*self.slot.values(), self._free, *self.entry.values())

    @property
    def nbytes(self) -> int:
        """Bytes held, spare room included."""
        return sum(array.nbytes for array in self.arrays)

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        for column in self.slot.values():
            make_room(column, slots, 0)

    def fill(self, place: Callable[..., int], slots: np.ndarray, *more: Any) -> None:
        """Call a kernel until it has placed all rows: place(row, slots, …) goes on from a row until it finds no room.

        slots: (n,) int32. more: what the kernel takes between slots and these columns.
        """
        row = 0
        with np.errstate(over="ignore"):  # mixes are modulo 2**64
            while (row := place(row, slots, *more, *self.arrays)) < len(slots):
                self._lengthen()

    def all_slots(self) -> np.ndarray:
        """Return every slot there is room for: (slots,) int32."""
        return np.arange(len(self.slot["at"]), dtype=np.int32)

    def starts(self, slots: np.ndarray) -> np.ndarray:
        """Return the running sum of these slots' entries: (m + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.slot["used"][slots], dtype=np.int64)])

    def _lengthen(self) -> None:
        self._length += self._length // 8 + 64
        for name, column in self.entry.items():
            column.resize(self._length * self._wide.get(name, 1), refcheck=False)
