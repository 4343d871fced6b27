"""How unusual a host's behaviour is among other hosts: tail estimates with the host itself left out."""

from collections.abc import Sequence

import numpy as np

from tocsin.detectors.outlier.behaviours import BEHAVIOURS

PRIOR_HOSTS = 1.0
"""Hosts that the built-in prior counts as: what a network of no known host is compared with."""

MOST_GAIN = 2.0
"""By how much a population in which nobody does the like can multiply a behaviour's bits: a trifle stays a trifle."""

NEARNESS = 1.5
"""How fast another host's example stops excusing: bits lost a bit of difference."""

OWN_NEARNESS = 4.0
OWN_SHARE = 0.5

OUTBREAK = 3
"""So many others may do the same on one day without excusing it, where the behaviour is hardly ever innocent;
fewer than one in ten of all."""


class Population:
    """Hosts of one kind on some days, with the bits of each behaviour.

    bits: (n, behaviours) float64, as they were. clean: the same without what was itself out of the ordinary, which a
    later host is compared with; one's own history is taken as it was. count: hosts and days, also those not listed.
    """

    def __init__(
        self, hosts: Sequence[str], days: Sequence[str], bits: np.ndarray, clean: np.ndarray, count: int
    ) -> None:
        self._hosts, self._days, self._bits, self._clean = hosts, days, bits, clean
        self._count = max(count, len(hosts))
        self._rows: dict[str, list[int]] = {}
        for i, host in enumerate(hosts):
            self._rows.setdefault(host, []).append(i)

    def evidence(self, hosts: Sequence[str], days: Sequence[str], bits: np.ndarray) -> np.ndarray:
        """Return the evidence of these hosts: (n, behaviours) float64, bits."""
        result = np.zeros(bits.shape)
        for column in range(bits.shape[1]):
            active: list[int] = np.flatnonzero(bits[:, column] > 0).tolist()
            shown = self._clean[:, column]
            mass = _kernel_sum(np.sort(shown[shown > 0]), bits[active, column])
            strongest = self._strongest(column)
            for place, i in enumerate(active):
                value, own = bits[i, column], self._rows.get(hosts[i], [])
                spared = [row for row in strongest if self._hosts[row] != hosts[i]][: self._few(column)]
                others = max(0.0, mass[place] - float(_near(shown[own + spared], value, NEARNESS).sum()))
                tail = (PRIOR_HOSTS * 2.0**-value + others) / (PRIOR_HOSTS + max(0, self._count - len(own)))
                history = [row for row in own if self._days[row] != days[i]]
                tail = max(tail, self._own_tail(column, value, history))
                result[i, column] = min(MOST_GAIN * value, max(0.0, -np.log2(min(1.0, tail))))
        return result

    def _few(self, column: int) -> int:
        return min(OUTBREAK, self._count // 10) if BEHAVIOURS[column].outbreak else 0

    def _strongest(self, column: int) -> list[int]:
        """Return the rows among which any host's strongest few others are: a host may be there on each day."""
        if not self._few(column):
            return []
        listed = OUTBREAK + max(len(rows) for rows in self._rows.values())
        rows: list[int] = np.argsort(-self._clean[:, column], kind="stable")[:listed].tolist()
        return rows

    def _own_tail(self, column: int, value: float, history: list[int]) -> float:
        if not (BEHAVIOURS[column].excused_by_history and history):
            return 0.0
        # A habit is what it did on most days: the lower median, so that one day of many excuses nothing.
        usual = np.sort(self._bits[history, column])[(len(history) - 1) // 2]
        return OWN_SHARE * float(_near(np.array([usual]), value, OWN_NEARNESS)[0])


def host_score(raw: np.ndarray | float, tests: np.ndarray | float) -> np.ndarray:
    """Return the score of raw bits: 100 · (1 - tests · 2^-bits), 0 where chance alone would do it.

    99.9 therefore says: among as many hosts and behaviours as were looked at, chance does this once in a thousand.
    """
    return np.asarray(100.0 * (1.0 - np.minimum(1.0, np.asarray(tests) * 2.0 ** -np.asarray(raw, np.float64))))


def _near(examples: np.ndarray, value: float, nearness: float) -> np.ndarray:
    return np.asarray(np.where(examples > 0, np.minimum(1.0, 2.0 ** (nearness * (examples - value))), 0.0))


def _kernel_sum(examples: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return Σ_j min(1, 2^(NEARNESS · (b_j - v))) for each value v; b: examples, (n,) sorted.

    Summed in logarithms, so that nothing overflows.
    """
    if not examples.size:
        return np.zeros(values.size)
    logs = np.logaddexp2.accumulate(NEARNESS * examples)
    place = np.searchsorted(examples, values, side="left")
    below = np.where(place > 0, 2.0 ** (logs[np.maximum(place, 1) - 1] - NEARNESS * values), 0.0)
    return np.asarray(below + (examples.size - place))
