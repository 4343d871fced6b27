"""Crossings become findings: proposed to the verdict, shown at once, delivered beside the work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.findings import candidate
from tocsin.detectors.summary.messages import Crossing
from tocsin.records.finding import Finding
from tocsin.verdict.severity import Cutoffs
from tocsin.verdict.verdict import Verdict


@dataclass
class Alarm:
    """Takes crossings. show: is given each finding as it is now, once more when it passes a further level.

    told: is called when findings may wait for delivery. new, below, suppressed: what became of the candidates.
    """

    summaries: Mapping[str, Summary]
    verdict: Verdict
    cutoffs: Cutoffs
    show: Callable[[Finding], None]
    told: Callable[[], None]
    new: int = 0
    below: int = 0
    suppressed: int = 0

    def take(self, crossings: Sequence[Crossing]) -> None:
        """Have crossings judged. Raises LedgerError."""
        if not crossings:
            return
        least = (self.cutoffs.low, self.cutoffs.medium, self.cutoffs.high, self.cutoffs.critical)
        proposed = [candidate(self.summaries[each.summary], each, least) for each in crossings]
        judged = self.verdict.judge(proposed, deliver=False)
        for finding in judged.findings:
            self.show(finding)
        self.new += judged.new
        self.below += judged.below
        self.suppressed += judged.suppressed
        self.told()
