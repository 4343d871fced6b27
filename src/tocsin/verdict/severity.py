"""Severity: which of five words a calibrated score earns, by cut-offs from the settings."""

from dataclasses import dataclass

import numpy as np

from tocsin.records.finding import SEVERITIES, Severity
from tocsin.settings import VerdictSettings


@dataclass(frozen=True)
class Cutoffs:
    """The least score, 0 to 100, of each severity above info; they ascend."""

    low: float = 95.0
    medium: float = 99.0
    high: float = 99.9
    critical: float = 99.99

    @classmethod
    def of(cls, settings: VerdictSettings) -> "Cutoffs":
        """Take the cut-offs from the settings."""
        return cls(settings.low, settings.medium, settings.high, settings.critical)

    def severity(self, score: float) -> Severity:
        """Return the severity of one score."""
        return SEVERITIES[sum(score >= least for least in self._edges())]

    def codes(self, scores: np.ndarray) -> np.ndarray:
        """Return the severities of many scores as indices into SEVERITIES.

        Args:
            scores: (n,) float, 0 to 100.

        Returns:
            (n,) uint8, 0 for info to 4 for critical; not-a-number is info.
        """
        scores = np.asarray(scores, np.float64)
        codes = np.zeros(scores.shape, np.uint8)
        for least in self._edges():
            codes += scores >= least
        return codes

    def _edges(self) -> tuple[float, float, float, float]:
        return self.low, self.medium, self.high, self.critical


def at_least(severity: Severity, least: Severity) -> bool:
    """Tell whether one severity is as grave as another."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
