"""How evenly a key's contacts are spaced in time and how alike they are in size: what gives a beacon away."""

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Values
from tocsin.detectors.summary.lists import fields_of, lists_of
from tocsin.detectors.summary.ranked import Ranked
from tocsin.kernels.beats import beat, same_sizes

BURST_US = 5_000_000.0
"""Contacts closer than this are one contact (a page and its parts), unless most of a key's are that close."""

LEAST_GAPS = 4
CHANCE = 0.25
"""The share of gaps near their median when contacts come at random: exp(-0.65 ln 2) - exp(-1.35 ln 2)."""


class Regularity(Ranked):
    """A number from 0, as irregular as chance, to 1, a clock, over a key's newest `size` contacts.

    In time it is the share of gaps within 35 % of the median gap, less what Poisson arrivals have, a quarter, on a
    scale where that is 0 and all of them is 1. So jitter of up to ±30 % costs little, a missed beat or a night's sleep
    one gap; human browsing, whose gaps spread over decades, has about 0. With `by`, it is the geometric mean of this
    and of the share of sizes within 10 % of the median size: either alone is no beacon. Null under 4 gaps between
    contacts that are not of one burst, or where most are at the same time. With few gaps chance does more: of Poisson
    arrivals with 11 gaps one in twenty passes 0.4, with 100 gaps 0.12.

    Judging gaps by their robust spread is the idea of RITA (Active Countermeasures), which takes Bowley's skewness and
    the median deviation of gaps; of those, random arrivals have a good part too.
    """

    name = "regularity"
    needs = frozenset({"size"})

    def add(self, slots: np.ndarray, values: Values, trace: str = "") -> None:
        """Add rows to their slots."""
        sizes = np.full(len(slots), np.nan) if values.size is None else values.size
        self._rank(slots, values.time_us, values.ordinal, sizes.astype(np.float64).view(np.uint64))

    def partial(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each slot's entries: list<struct<time, ordinal, size>>."""
        starts, entry = self._entries(slots)
        fields = {"time": entry["time"], "ordinal": entry["ordinal"], "size": entry["value"].view(np.float64)}
        return {"entries": lists_of(starts, fields)}

    def merge(self, slots: np.ndarray, partial: dict[str, pa.Array]) -> None:
        """Merge a partial."""
        starts, fields = fields_of(partial["entries"])
        time, ordinal, size = (fields[name].to_numpy() for name in ("time", "ordinal", "size"))
        self._rank(np.repeat(slots, np.diff(starts)), time, ordinal, size.view(np.uint64))

    def results(self, slots: np.ndarray) -> dict[str, pa.Array]:
        """Return each slot's regularity: float64."""
        starts, entry = self._entries(slots)
        measured = beat(starts, entry["time"], np.zeros(len(entry["time"])), BURST_US)
        median, gaps, near = measured[:, 0], measured[:, 1], measured[:, 2]
        score = np.clip((near - CHANCE) / (1.0 - CHANCE), 0.0, 1.0)
        alike = same_sizes(starts, entry["value"].view(np.float64))
        score = np.where(np.isnan(alike), score, np.sqrt(score * np.nan_to_num(alike)))
        return {self.reducers[0].name: pa.array(score, mask=(gaps < LEAST_GAPS) | (median <= 0.0))}
