"""Crossings and what is novel become findings: proposed to the verdict, shown at once, delivered beside the work."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.findings import candidate
from tocsin.detectors.summary.messages import Crossing
from tocsin.jobs.recent import Recent
from tocsin.records.finding import SEVERITIES, Candidate, Finding, finding_id
from tocsin.verdict.severity import Cutoffs
from tocsin.verdict.verdict import Verdict

REMEMBERED = 100_000
"""Findings of which it is known what was shown."""


@dataclass
class Alarm:
    """Takes crossings and what is novel. show: is given each finding as it is now, once more when it passes a further
    level, or, where nobody set levels, when it is graver. grown: is given a finding that was shown, as it is now,
    whenever there is more of it.

    told: is called when findings may wait for delivery. recent: is given the records, to show those behind what only
    the end of a window tells. new, below, suppressed, over_budget: what became of the candidates.
    """

    summaries: Mapping[str, Summary]
    verdict: Verdict
    cutoffs: Cutoffs
    show: Callable[[Finding], None]
    told: Callable[[], None]
    grown: Callable[[Finding], None] = lambda _: None
    recent: Recent = field(init=False)
    new: int = 0
    below: int = 0
    suppressed: int = 0
    over_budget: int = 0
    _shown: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recent = Recent(self.summaries)

    def take(self, crossings: Sequence[Crossing]) -> None:
        """Have crossings judged, those of one finding one after the other. Raises LedgerError."""
        least = (self.cutoffs.low, self.cutoffs.medium, self.cutoffs.high, self.cutoffs.critical)
        self.propose([candidate(self.summaries[each.summary], each, least) for each in self.recent.shown(crossings)])

    def propose(self, proposed: Sequence[Candidate]) -> None:
        """Have candidates judged, those of one finding one after the other. Raises LedgerError."""
        for each in _rounds(proposed):
            self._judge(each)
        if proposed:
            self.told()

    def _judge(self, proposed: list[Candidate]) -> None:
        judged = self.verdict.judge(proposed, deliver=False)
        explicit = proposed[0].explicit
        for finding in judged.findings:
            self._show(finding, finding.score if explicit else SEVERITIES.index(finding.severity))
            self.grown(finding)
        self.new += judged.new
        self.below += judged.below
        self.suppressed += judged.suppressed
        self.over_budget += judged.over_budget

    def _show(self, finding: Finding, rank: float) -> None:
        """Show a finding that was not shown before, or has risen since."""
        if rank <= self._shown.get(finding.id, -1.0):
            return
        self._shown[finding.id] = rank
        if len(self._shown) > REMEMBERED:
            del self._shown[next(iter(self._shown))]
        self.show(finding)


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
