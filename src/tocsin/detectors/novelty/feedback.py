"""What people said of kinds of observations: "this is normal"."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tocsin.errors import InputError


@dataclass(frozen=True)
class Feedback:
    """A kind of observation that somebody called normal.

    pattern: a value a component, None for any. strength: the part of the surprise that is taken away, 0 to 1; each
    further feedback takes its part of what is left. at_us: when it was said, microseconds. by, note: who and why.
    """

    id: str
    pattern: tuple[str | None, ...]
    strength: float
    at_us: int
    by: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise InputError(f"strength: {self.strength} is not above 0 and at most 1")
        if not self.id:
            raise InputError("id: a feedback needs a name, so that it can be undone")

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "pattern": list(self.pattern)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Feedback":
        """Read what `as_dict` returned."""
        return cls(**{**document, "pattern": tuple(document["pattern"])})


def left_over(patterns: Sequence[tuple[np.ndarray, float]], values: np.ndarray) -> np.ndarray | None:
    """Return the part of each observation's surprise that feedback leaves: (n,) float64, None for all of it.

    patterns: numbers of values, (L,) int32 with -1 for any, and strength. values: (n, L) int32.
    """
    if not patterns:
        return None
    left = np.ones(len(values))
    for wanted, strength in patterns:
        asked = wanted >= 0
        left[(values[:, asked] == wanted[asked]).all(axis=1)] *= 1.0 - strength
    return left
