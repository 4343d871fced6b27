"""Kinds of observations: a part a component, each any value, one value, or a range of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError


@dataclass(frozen=True)
class Range:
    """Values from low to high, both included; None is without a bound. Numbers compare as numbers, else as text."""

    low: str | None = None
    high: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing can lie in it."""
        if self.low is None or self.high is None:
            return False
        low, high = number_of(self.low), number_of(self.high)
        return self.low > self.high if low is None or high is None else low > high

    def holds(self, texts: pa.Array) -> np.ndarray:
        """Say which texts lie in it: (n,) string -> (n,) bool."""
        inside = np.ones(len(texts), bool)
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        numbers = [number_of(bound) for bound in bounds]
        if bounds and all(number is not None for number in numbers):
            values = np.array([np.nan if (number := number_of(text)) is None else number for text in texts.to_pylist()])
            low = number_of(self.low) if self.low is not None else -np.inf
            high = number_of(self.high) if self.high is not None else np.inf
            inside &= (values >= low) & (values <= high)
            return inside
        if self.low is not None:
            inside &= pc.greater_equal(texts, self.low).to_numpy(zero_copy_only=False)
        if self.high is not None:
            inside &= pc.less_equal(texts, self.high).to_numpy(zero_copy_only=False)
        return inside


Part = str | Range | None
"""What a component may be: None is anything."""


def number_of(text: str) -> float | None:
    """Return a text as a number, None when it is none."""
    if "_" in text:
        return None  # Python alone reads 1_000 as a number
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def check_pattern(pattern: Sequence[Part], length: int) -> None:
    """Raise InputError when a pattern does not fit observations of this length, or says nothing."""
    if length and len(pattern) != length:
        raise InputError(f"a pattern has a part for each of the {length} components, not {len(pattern)}")
    for index, part in enumerate(pattern):
        if isinstance(part, Range) and part.is_empty:
            raise InputError(f"[{index}]: nothing is from {part.low!r} to {part.high!r}; the lower bound comes first")
    if all(part is None or part == Range() for part in pattern):
        raise InputError("a pattern needs one component at least; to forget everything, reset the context")
