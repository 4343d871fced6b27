"""The verdict: candidates in, findings out.

Warm-up, severity, suppression, de-duplication and the noise budget, in that order, for every detector alike.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from tocsin.clock import Clock
from tocsin.errors import SinkError
from tocsin.records.finding import NOISE_BUDGET, Candidate, Finding, finding_id
from tocsin.records.suppression import Suppression
from tocsin.settings import VerdictSettings
from tocsin.sink import Sink
from tocsin.verdict.severity import Cutoffs, at_least
from tocsin.verdict.suppression import check_rule, first_match, matches

if TYPE_CHECKING:
    from tocsin.ledger.ledger import Ledger

log = logging.getLogger("tocsin.verdict")


@dataclass(frozen=True)
class Judged:
    """What became of a list of candidates.

    findings: those in sight now, new and updated, in the order of the candidates.
    new, suppressed, over_budget, below, warming_up: how many findings are new, candidates a rule hides, candidates the
    noise budget keeps out, candidates under the least severity, candidates of a detector that has seen too little.
    """

    findings: list[Finding] = field(default_factory=list)
    new: int = 0
    suppressed: int = 0
    over_budget: int = 0
    below: int = 0
    warming_up: int = 0


class Verdict:
    """Decides, for every detector, which candidates become findings, keeps them in the ledger and has them delivered.

    Judging the same candidates again changes nothing and delivers nothing again. Which findings are in sight does not
    depend on the order in which candidates come: of a detector's findings of a day the highest scores stay, up to the
    noise budget, and one that has to give way is hidden, unless somebody has already said something about it.

    Explicit candidates passed a threshold that the user set: they need no warm-up and have no budget. Severity and
    suppression apply to them too.
    """

    def __init__(
        self,
        ledger: "Ledger",
        settings: VerdictSettings,
        *,
        domain: str,
        clock: Clock,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._domain = domain
        self._clock = clock
        self._cutoffs = Cutoffs.of(settings)
        self._sinks = _by_place(sinks)
        self.failed_deliveries = 0

    def judge(self, candidates: list[Candidate], *, seen_rows: int | None = None, deliver: bool = True) -> Judged:
        """Judge candidates.

        Args:
            candidates: proposals of any detectors and days.
            seen_rows: records the detector has seen so far; below `warm_up_rows` nothing becomes a finding, except
                explicit candidates.
            deliver: serve the sinks too; without, they wait for the next call of `deliver`.

        Raises:
            LedgerError: when the ledger cannot be used. A sink that fails raises nothing: it is tried again at the
                next call.
        """
        proposed = len(candidates)
        if seen_rows is not None and seen_rows < self._settings.warm_up_rows:
            candidates = [candidate for candidate in candidates if candidate.explicit]
        self.expire()
        rules = self._ledger.suppressions(active_at=self._clock.now())
        judged: dict[str, Finding] = {}
        groups: dict[tuple[str, date], dict[str, Finding]] = defaultdict(dict)
        explicit: dict[str, Finding] = {}
        below = 0
        for candidate in candidates:
            finding = self._finding(candidate, rules)
            if not at_least(finding.severity, self._settings.min_severity):
                below += 1
                continue
            day = finding.start.astimezone(UTC).date()
            group = explicit if candidate.explicit else groups[finding.detector, day]
            if finding.id not in group or _rank(finding) < _rank(group[finding.id]):
                group[finding.id] = finding
        new = over_budget = 0
        for (detector, day), group in sorted(groups.items()):
            outcome = self._keep(detector, day, group)
            judged |= {finding.id: finding for finding in outcome.findings}
            new += outcome.new
            over_budget += outcome.over_budget
        if explicit:
            outcome = self._keep_all(explicit)
            judged |= {finding.id: finding for finding in outcome.findings}
            new += outcome.new
        everything = (*groups.values(), explicit)
        suppressed = sum(bool(finding.suppressed_by) for group in everything for finding in group.values())
        if deliver:
            self.deliver()
        order = dict.fromkeys(finding_id(self._domain, candidate) for candidate in candidates)
        shown = [judged[each] for each in order if each in judged]
        warming_up = proposed - len(candidates)
        return Judged(
            shown, new=new, suppressed=suppressed, over_budget=over_budget, below=below, warming_up=warming_up
        )

    def deliver(self) -> int:
        """Give every sink what waits for it, and return how many deliveries of a finding were made.

        A sink that fails is logged and counted in `failed_deliveries`; its findings wait for the next call.
        """
        delivered = 0
        for place, sink in self._sinks.items():
            while waiting := self._ledger.undelivered(place):
                try:
                    sink.send(waiting)
                except SinkError as error:
                    self.failed_deliveries += 1
                    log.warning("findings wait for %s: %s", place, error, extra={"findings": len(waiting)})
                    break
                self._ledger.mark_delivered(place, [finding.id for finding in waiting])
                delivered += len(waiting)
        return delivered

    def would_hide(self, rule: Suppression) -> list[Finding]:
        """Return the stored findings in sight that a rule would hide, highest score first. Raises SettingsError."""
        check_rule(rule)
        stored = self._ledger.findings(domain=rule.domain or None, limit=None)
        return [finding for finding in stored if matches(rule, finding.domain, finding)]

    def add_rule(self, rule: Suppression) -> list[Finding]:
        """Keep a rule and hide the stored findings that it matches; return those. Raises SettingsError, LedgerError."""
        hidden = self.would_hide(rule) if rule.active_at(self._clock.now()) else []
        check_rule(rule)
        self._ledger.add_suppression(rule)
        self._hide(hidden, rule)
        return hidden

    def remove_rule(self, rule_id: str) -> int:
        """Drop a rule and show again what only it hid; return how many findings that is. Raises LedgerError."""
        hidden = self._ledger.findings(limit=None, include_suppressed=True)
        ids = [finding.id for finding in hidden if finding.suppressed_by == rule_id]
        self._ledger.remove_suppression(rule_id)
        return len(ids) - self._hide_again(ids)

    def expire(self) -> int:
        """Show again what only rules that have expired hid; return how many findings that is."""
        ids = self._ledger.expire_suppressions(self._clock.now())
        return len(ids) - self._hide_again(ids)

    def _finding(self, candidate: Candidate, rules: Iterable[Suppression]) -> Finding:
        """Return what a candidate would be as a new finding."""
        rule = first_match(rules, self._domain, candidate)
        now = self._clock.now()
        values = {name: getattr(candidate, name) for name in Candidate.__dataclass_fields__ if name != "explicit"}
        return Finding(
            id=finding_id(self._domain, candidate),
            domain=self._domain,
            severity=self._cutoffs.severity(candidate.score),
            state="new",
            count=1,
            suppressed_by=rule.id if rule else "",
            created=now,
            updated=now,
            **values,
        )

    def _keep_all(self, explicit: dict[str, Finding]) -> Judged:
        """Keep findings of any detector and day, without a budget."""
        stored = self._ledger.findings_by_id(explicit)
        kept = list(explicit.values())
        is_new = self._ledger.upsert_findings(kept, deliver_to=tuple(self._sinks), rises_are_news=True)
        self._count_hits(kept, stored)
        after = self._ledger.findings_by_id(explicit)
        shown = [finding for finding in after.values() if not finding.suppressed_by]
        return Judged(
            shown, new=sum(new and not after[one.id].suppressed_by for new, one in zip(is_new, kept, strict=True))
        )

    def _keep(self, detector: str, day: date, group: dict[str, Finding]) -> Judged:
        """Keep one detector's findings of one day, within the budget."""
        stored = self._stored(detector, day)
        turned_away, hidden, shown_again = self._over_budget(group, stored)
        kept = []
        for each, finding in group.items():
            if each in turned_away and each not in stored:
                continue
            kept.append(replace(finding, suppressed_by=NOISE_BUDGET) if each in turned_away else finding)
        is_new = self._ledger.upsert_findings(kept, deliver_to=tuple(self._sinks))
        self._ledger.set_suppressed(hidden, NOISE_BUDGET)
        self._ledger.set_suppressed(shown_again, "")
        self._ledger.turn_away(self._domain, detector, day, [*turned_away, *hidden])
        self._count_hits(kept, stored)
        after = self._stored(detector, day)
        shown = [after[finding.id] for finding in kept if not after[finding.id].suppressed_by]
        new = sum(new and not finding.suppressed_by for new, finding in zip(is_new, kept, strict=True))
        return Judged(shown, new=new, over_budget=len(turned_away))

    def _over_budget(
        self, group: dict[str, Finding], stored: dict[str, Finding]
    ) -> tuple[set[str], list[str], list[str]]:
        """Return which candidates the budget keeps out, which stored findings give way, and which come back."""
        in_sight = {each: finding for each, finding in stored.items() if not finding.suppressed_by}
        contenders = {
            each: finding for each, finding in group.items() if not finding.suppressed_by and each not in in_sight
        }
        touched = sum(finding.state != "new" for finding in in_sight.values())
        pool = dict(contenders)
        for each, finding in in_sight.items():
            if finding.state == "new":
                pool[each] = min(finding, group.get(each, finding), key=_rank)
        ranked = sorted(pool.values(), key=_rank)
        out = {finding.id for finding in ranked[max(self._settings.noise_budget - touched, 0) :]}
        back = [each for each in contenders if each in stored and each not in out]
        return out & contenders.keys(), sorted(out - contenders.keys()), back

    def _stored(self, detector: str, day: date) -> dict[str, Finding]:
        start = datetime.combine(day, time(), UTC)
        found = self._ledger.findings(
            domain=self._domain,
            detector=detector,
            since=start,
            until=start + timedelta(days=1),
            include_suppressed=True,
            limit=None,
        )
        return {finding.id: finding for finding in found if finding.start >= start}

    def _count_hits(self, kept: list[Finding], stored: dict[str, Finding]) -> None:
        """Count for each rule the findings that it hides from now on."""
        hits: dict[str, int] = defaultdict(int)
        for finding in kept:
            if finding.suppressed_by not in ("", NOISE_BUDGET) and finding.id not in stored:
                hits[finding.suppressed_by] += 1
        for rule_id, count in hits.items():
            self._ledger.hit_suppression(rule_id, count, self._clock.now())

    def _hide(self, findings: list[Finding], rule: Suppression) -> None:
        if findings:
            self._ledger.set_suppressed([finding.id for finding in findings], rule.id)
            self._ledger.hit_suppression(rule.id, len(findings), self._clock.now())

    def _hide_again(self, ids: list[str]) -> int:
        """Hide what another active rule matches, of findings that have come back into sight; return how many."""
        if not ids:
            return 0
        rules = self._ledger.suppressions(active_at=self._clock.now())
        by_rule: dict[str, list[Finding]] = defaultdict(list)
        for finding in self._ledger.findings(limit=None):
            rule = first_match(rules, finding.domain, finding) if finding.id in set(ids) else None
            if rule is not None:
                by_rule[rule.id].append(finding)
        for rule in rules:
            self._hide(by_rule[rule.id], rule)
        return sum(map(len, by_rule.values()))


def _rank(finding: Finding) -> tuple[float, float, str]:
    """Sort highest score first, and ties always the same way."""
    return -finding.score, -finding.raw, finding.id


def _by_place(sinks: Sequence[Sink]) -> dict[str, Sink]:
    """Name each sink by its place; of several with one place each but the first gets a number."""
    named: dict[str, Sink] = {}
    for sink in sinks:
        place, number = sink.place, 1
        while place in named:
            number += 1
            place = f"{sink.place} #{number}"
        named[place] = sink
    return named
