"""How unusual a host's behaviour is among other hosts: tail estimates with the host itself left out."""

import numpy as np

from tocsin.detectors.outlier.behaviours import BEHAVIOURS

PRIOR_HOSTS = 1.0
"""Hosts that the built-in prior counts as: what a network of no known host is compared with."""

MOST_GAIN = 2.0
"""By how much a population in which nobody does the like can multiply a behaviour's own bits: a trifle stays a trifle."""

NEARNESS = 1.5
"""How fast another host's example stops excusing: bits lost a bit of difference."""

OWN_NEARNESS = 4.0
OWN_SHARE = 0.5


class Population:
    """Hosts of one kind on some days, with the bits of each behaviour."""

    def __init__(self, hosts: list[str], days: list[str], bits: np.ndarray, count: int) -> None:
        self._bits, self._days = bits, days
        self._count = max(count, len(hosts))
        self._rows: dict[str, list[int]] = {}
        for i, host in enumerate(hosts):
            self._rows.setdefault(host, []).append(i)

    def evidence(self, hosts: list[str], days: list[str], bits: np.ndarray) -> np.ndarray:
        """Return the evidence of these hosts: (n, behaviours) float64, bits."""
        result = np.zeros(bits.shape)
        for column in range(bits.shape[1]):
            active = np.flatnonzero(bits[:, column] > 0)
            if not active.size:
                continue
            values = bits[active, column]
            mass = _kernel_sum(np.sort(self._bits[:, column][self._bits[:, column] > 0]), values)
            for place, i in enumerate(active):
                own = self._rows.get(hosts[i], [])
                result[i, column] = self._leave_out(column, values[place], mass[place], own, days[i])
        return result

    def _leave_out(self, column: int, value: float, mass: float, own: list[int], day: str) -> float:
        mine = self._bits[own, column]
        others = max(0.0, mass - float(_near(mine, value, NEARNESS).sum()))
        count = max(0, self._count - len(own))
        tail = (PRIOR_HOSTS * 2.0**-value + others) / (PRIOR_HOSTS + count)
        if BEHAVIOURS[column].excused_by_history:
            history = self._bits[[i for i in own if self._days[i] != day], column]
            if history.size:
                tail = max(tail, OWN_SHARE * float(_near(history, value, OWN_NEARNESS).mean()))
        return float(min(MOST_GAIN * value, max(0.0, -np.log2(min(1.0, tail)))))


def host_score(raw: np.ndarray | float, tests: np.ndarray | float) -> np.ndarray:
    """Return the score of raw bits: 100 · (1 - tests · 2^-bits), 0 where chance alone would do it.

    99.9 therefore says: among as many hosts and behaviours as were looked at, chance does this once in a thousand times.
    """
    return np.asarray(100.0 * (1.0 - np.minimum(1.0, np.asarray(tests) * 2.0 ** -np.asarray(raw, np.float64))))


def _near(examples: np.ndarray, value: float, nearness: float) -> np.ndarray:
    return np.asarray(np.where(examples > 0, np.minimum(1.0, 2.0 ** (nearness * (examples - value))), 0.0))


def _kernel_sum(examples: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return Σ_j min(1, 2^(NEARNESS · (b_j - v))) for each value, examples: (n,) sorted. In logarithms, so that nothing overflows."""
    if not examples.size:
        return np.zeros(values.size)
    logs = np.logaddexp2.accumulate(NEARNESS * examples)
    place = np.searchsorted(examples, values, side="left")
    below = np.where(place > 0, 2.0 ** (logs[np.maximum(place, 1) - 1] - NEARNESS * values), 0.0)
    return np.asarray(below + (examples.size - place))
