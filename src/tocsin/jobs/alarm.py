"""Crossings become findings: proposed to the verdict, shown at once, delivered beside the work."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.findings import candidate
from tocsin.detectors.summary.messages import Crossing
from tocsin.records.finding import Candidate, Finding, finding_id
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
        """Have crossings judged, those of one finding one after the other. Raises LedgerError."""
        least = (self.cutoffs.low, self.cutoffs.medium, self.cutoffs.high, self.cutoffs.critical)
        proposed = [candidate(self.summaries[each.summary], each, least) for each in crossings]
        for each in _rounds(proposed):
            self._judge(each)
        if proposed:
            self.told()

    def _judge(self, proposed: list[Candidate]) -> None:
        judged = self.verdict.judge(proposed, deliver=False)
        for finding in judged.findings:
            self.show(finding)
        self.new += judged.new
        self.below += judged.below
        self.suppressed += judged.suppressed


def _rounds(proposed: Iterable[Candidate]) -> list[list[Candidate]]:
    """Split candidates so that those of one finding are in different lists, in order."""
    rounds: list[list[Candidate]] = []
    seen: Counter[str] = Counter()
    for each in proposed:
        subject = finding_id("", each)
        if seen[subject] == len(rounds):
            rounds.append([])
        rounds[seen[subject]].append(each)
        seen[subject] += 1
    return rounds
