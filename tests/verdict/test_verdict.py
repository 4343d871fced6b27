from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import LedgerError, SettingsError
from tocsin.ledger.ledger import Ledger
from tocsin.records.finding import NOISE_BUDGET, Candidate, Reason
from tocsin.records.suppression import Suppression
from tocsin.settings import VerdictSettings
from tocsin.testing.clock import FakeClock
from tocsin.testing.sink import RecordingSink
from tocsin.verdict.verdict import Verdict

DAY = datetime(2025, 1, 8, 10, tzinfo=UTC)


def candidate(entity="10.0.0.1", score=99.95, **changes):
    values = {
        "detector": "outlier",
        "kind": "unusual-flows",
        "entity": entity,
        "start": DAY,
        "end": DAY + timedelta(hours=1),
        "raw": score / 10,
        "score": score,
        "title": f"{entity} stands out",
        "reasons": [Reason("dport", "4444", "443", 1.0)],
        "record_count": 7,
    }
    return Candidate(**(values | changes))


def rule(**conditions):
    return Suppression(id="r1", owner="ann", reason="known", created=DAY, **conditions)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path, clock):
    on_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/ledger.sqlite" if on_sqlite else request.getfixturevalue("postgres_url")
    opened = Ledger(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def make(ledger, clock):
    def verdict(sinks=(), **keys):
        return Verdict(ledger, VerdictSettings(**keys), domain="campus", clock=clock, sinks=list(sinks))

    return verdict


def test_a_candidate_becomes_a_finding(make, ledger):
    sink = RecordingSink()
    judged = make([sink]).judge([candidate()])
    (finding,) = judged.findings
    assert judged.new == 1
    assert (finding.severity, finding.state, finding.count, finding.domain) == ("high", "new", 1, "campus")
    assert ledger.findings() == [finding]
    assert sink.findings == [finding]


def test_the_same_again_changes_nothing_and_delivers_nothing(make, ledger):
    sink = RecordingSink()
    verdict = make([sink], noise_budget=2)
    several = [candidate(f"10.0.0.{number}", 99.9 + number / 100) for number in range(5)]
    first = verdict.judge(several)
    before = ledger.findings(include_suppressed=True), ledger.budgets()
    again = verdict.judge(several)
    assert (first.new, first.over_budget) == (2, 3)
    assert (again.new, again.over_budget) == (0, 3)
    assert again.findings == first.findings
    assert (ledger.findings(include_suppressed=True), ledger.budgets()) == before
    assert len(sink.findings) == 2
    assert ledger.budgets()[0].dropped == 3


def test_more_of_the_same_is_one_finding_with_a_count(make, ledger):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.judge([candidate()])
    later = candidate(end=DAY + timedelta(hours=3), record_count=9)
    judged = verdict.judge([later, later])
    (finding,) = judged.findings
    assert judged.new == 0
    assert finding.count == 2
    assert len(sink.sent) == 1


def test_one_that_grows_graver_is_delivered_again(make):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.judge([candidate(score=99.5)])
    verdict.judge([candidate(score=99.6, record_count=8)])
    verdict.judge([candidate(score=99.95, record_count=9)])
    assert [finding.severity for finding in sink.findings] == ["medium", "high"]


def test_warm_up_and_least_severity(make, ledger):
    verdict = make(warm_up_rows=100)
    assert verdict.judge([candidate()], seen_rows=99).warming_up == 1
    assert verdict.judge([candidate(score=98.0)], seen_rows=100).below == 1
    assert ledger.findings() == []
    assert verdict.judge([candidate()], seen_rows=100).new == 1
    assert make(min_severity="info").judge([candidate("10.0.0.9", 5.0)]).new == 1


def test_cut_offs_are_the_settings(make):
    assert make(critical=99.91, high=99.905).judge([candidate(score=99.92)]).findings[0].severity == "critical"


def test_the_budget_is_by_detector_and_day_and_takes_the_highest(make, ledger):
    scores = [99.2, 99.99, 99.5, 99.3, 100.0]
    several = [candidate(f"10.0.0.{number}", score) for number, score in enumerate(scores)]
    other = [candidate(detector="hosts"), candidate(start=DAY - timedelta(days=1))]
    judged = make(noise_budget=2).judge(several + other)
    assert judged.new == 4
    assert [finding.score for finding in judged.findings[:2]] == [99.99, 100.0]
    assert ledger.count_new_findings("campus", "outlier", DAY.date()) == 2


def test_a_higher_score_later_in_the_day_takes_the_place_of_a_lower(make, ledger):
    sink = RecordingSink()
    verdict = make([sink], noise_budget=2)
    verdict.judge([candidate("10.0.0.1", 99.2), candidate("10.0.0.2", 99.3)])
    judged = verdict.judge([candidate("10.0.0.3", 99.999)])
    assert judged.new == 1
    assert [finding.entity for finding in ledger.findings()] == ["10.0.0.3", "10.0.0.2"]
    hidden = {finding.entity: finding.suppressed_by for finding in ledger.findings(include_suppressed=True)}
    assert hidden["10.0.0.1"] == NOISE_BUDGET
    back = verdict.judge([candidate("10.0.0.1", 99.998, record_count=50)])
    assert [finding.entity for finding in ledger.findings()] == ["10.0.0.3", "10.0.0.1"]
    assert [finding.entity for finding in back.findings] == ["10.0.0.1"]


def test_what_somebody_has_looked_at_stays_in_sight(make, ledger):
    verdict = make(noise_budget=1)
    (first,) = verdict.judge([candidate("10.0.0.1", 99.2)]).findings
    ledger.label(first.id, "acknowledged", who="ann")
    judged = verdict.judge([candidate("10.0.0.3", 99.999)])
    assert (judged.new, judged.over_budget) == (0, 1)
    assert [finding.entity for finding in ledger.findings()] == ["10.0.0.1"]


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 8))
def test_what_is_in_sight_does_not_depend_on_the_order(order, split):
    clock = FakeClock()
    ledger = Ledger("sqlite://", clock=clock)
    verdict = Verdict(ledger, VerdictSettings(noise_budget=3), domain="campus", clock=clock)
    several = [candidate(f"10.0.0.{number}", 99.1 + number / 10) for number in order]
    verdict.judge(several[:split])
    verdict.judge(several[split:])
    assert [finding.entity for finding in ledger.findings()] == ["10.0.0.7", "10.0.0.6", "10.0.0.5"]
    ledger.close()


def test_a_rule_hides_what_comes_and_counts_it_once(make, ledger):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.add_rule(rule(network="10.0.0.0/24"))
    for _ in range(2):
        judged = verdict.judge([candidate(), candidate("10.0.1.1")])
        assert judged.suppressed == 1
        assert [finding.entity for finding in judged.findings] == ["10.0.1.1"]
    (kept,) = ledger.suppressions()
    assert kept.hits == 1
    assert len(sink.findings) == 1


def test_a_rule_acts_on_stored_findings_and_lets_go_of_them(make, ledger):
    verdict = make()
    verdict.judge([candidate(), candidate("10.0.1.1")])
    new = rule(entity="10.0.0.1")
    assert [finding.entity for finding in verdict.would_hide(new)] == ["10.0.0.1"]
    assert len(ledger.findings()) == 2
    assert [finding.entity for finding in verdict.add_rule(new)] == ["10.0.0.1"]
    assert [finding.entity for finding in ledger.findings()] == ["10.0.1.1"]
    assert ledger.suppressions()[0].hits == 1
    assert verdict.remove_rule("r1") == 1
    assert len(ledger.findings()) == 2


def test_an_expired_rule_hides_nothing_but_another_may_go_on(make, ledger, clock):
    verdict = make()
    verdict.judge([candidate(), candidate("10.0.1.1")])
    soon = clock.now() + timedelta(days=1)
    verdict.add_rule(rule(kind="unusual-flows", expires=soon))
    verdict.add_rule(replace(rule(entity="10.0.1.1"), id="r2"))
    assert ledger.findings() == []
    clock.advance(86_400)
    assert verdict.expire() == 1
    assert [finding.entity for finding in ledger.findings()] == ["10.0.0.1"]
    assert verdict.expire() == 0
    assert verdict.judge([candidate(record_count=8)]).suppressed == 0


def test_rules_of_weekdays_and_hours_are_kept(make, ledger):
    verdict = make()
    verdict.judge([candidate()])
    assert len(verdict.add_rule(rule(weekdays="wed", hours="10-12"))) == 1
    (kept,) = ledger.suppressions()
    assert (kept.weekdays, kept.hours) == ("wed", "10-12")


def test_a_rule_that_cannot_hold_is_refused(make, ledger):
    with pytest.raises(SettingsError, match="needs a condition"):
        make().add_rule(rule())
    assert ledger.suppressions() == []
    with pytest.raises(LedgerError, match="no suppression"):
        make().remove_rule("nothing")


def test_a_sink_that_fails_loses_nothing_and_holds_nobody_up(make, ledger):
    broken, sound = RecordingSink(failures=2, place="broken"), RecordingSink(place="sound")
    verdict = make([broken, sound])
    assert verdict.judge([candidate()]).new == 1
    assert verdict.failed_deliveries == 1
    assert len(sound.findings) == 1
    verdict.judge([candidate("10.0.0.2")])
    assert verdict.failed_deliveries == 2
    # A new process, the same ledger.
    make([broken, sound]).judge([])
    assert [finding.entity for finding in broken.findings] == ["10.0.0.1", "10.0.0.2"]
    assert len(sound.findings) == 2
    assert make([broken]).deliver() == 0


def test_two_sinks_of_one_place_each_get_everything(make):
    sinks = [RecordingSink(), RecordingSink()]
    make(sinks).judge([candidate()])
    assert [len(sink.findings) for sink in sinks] == [1, 1]


def test_hidden_findings_are_delivered_when_they_come_into_sight(make, clock):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.add_rule(rule(hours="10-12"))
    verdict.judge([candidate()])
    assert sink.findings == []
    verdict.judge([candidate(end=DAY + timedelta(hours=5), record_count=9)])
    assert len(sink.findings) == 1


def explicit(entity="10.0.0.1", score=99.0, window="10:00", **changes):
    about = f"guessing 2025-01-08T{window}:00Z"
    return candidate(entity, score, **({"detector": "summary", "about": about, "explicit": True} | changes))


def test_the_users_own_threshold_has_no_warm_up_and_no_budget(make, ledger):
    verdict = make(noise_budget=1, warm_up_rows=100)
    several = [explicit(f"10.0.0.{number}") for number in range(5)]
    judged = verdict.judge([*several, candidate()], seen_rows=1)
    assert (judged.new, judged.over_budget, judged.warming_up) == (5, 0, 1)
    assert [finding.entity for finding in judged.findings] == [each.entity for each in several]
    assert "explicit" not in ledger.findings()[0].to_dict()
    assert verdict.judge(several).new == 0
    assert len(ledger.findings()) == 5


def test_severity_and_suppression_hold_for_explicit_candidates_too(make, ledger):
    verdict = make()
    verdict.add_rule(rule(entity="10.0.0.2"))
    judged = verdict.judge([explicit(), explicit("10.0.0.2"), explicit("10.0.0.3", score=98.0)])
    assert (judged.new, judged.suppressed, judged.below) == (1, 1, 1)
    assert ledger.suppressions()[0].hits == 1
    verdict.judge([explicit("10.0.0.2")])
    assert ledger.suppressions()[0].hits == 1


def test_a_further_level_updates_the_finding_and_is_delivered_again(make, ledger):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.judge([explicit(score=99.0)])
    verdict.judge([explicit(score=99.0, raw=20.0, record_count=8)])
    verdict.judge([explicit(score=99.3, record_count=9, title="three times as many")])
    verdict.judge([explicit(score=99.0, record_count=10)])
    assert [finding.score for finding in sink.findings] == [99.0, 99.3]
    (finding,) = ledger.findings()
    assert (finding.title, finding.severity) == ("three times as many", "medium")
    assert finding.record_count == 10


def test_a_window_is_one_finding_whatever_day_its_records_begin_on(make, ledger):
    verdict = make()
    verdict.judge([explicit(start=DAY), explicit(start=DAY - timedelta(days=1))])
    verdict.judge([explicit(start=DAY - timedelta(days=2))])
    verdict.judge([explicit(window="10:30")])
    assert len(ledger.findings()) == 2


def test_delivery_can_be_left_to_another(make):
    sink = RecordingSink()
    verdict = make([sink])
    verdict.judge([explicit()], deliver=False)
    assert sink.findings == []
    assert verdict.deliver() == 1
