"""What a crossing becomes: its words, its score, its identity."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.condition import Condition, growing
from tocsin.detectors.summary.definition import SECOND_US, Input, Reducer, Summary
from tocsin.detectors.summary.findings import MOST_RECORDS, candidate, plain, title, words
from tocsin.detectors.summary.messages import Crossing
from tocsin.records.finding import SEVERITIES, finding_id

CUTOFFS = (95.0, 99.0, 99.9, 99.99)
NOON = datetime(2025, 1, 8, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * SECOND_US

REDUCERS = (Reducer("attempts", "sum"), Reducer("servers", "unique"), Reducer("some", "sample"))


def condition(sql):
    return Condition(sql, growing(sql, {each.name: each.kind for each in REDUCERS}))


GUESSING = Summary(
    name="ssh-guessing",
    inputs=(Input("zeek.ssh", "", {"host": "id.orig_h"}, "1", "ts", REDUCERS),),
    key_parts=("host",),
    window_us=1800 * SECOND_US,
    step_us=1800 * SECOND_US,
    condition=condition("attempts >= 30"),
    severities=("high",),
    kind="brute-force",
    title="{host} guessed passwords {attempts:.0f} times on {servers} servers in {duration}",
    entity="host",
)

CROSSED = Crossing(
    summary="ssh-guessing",
    window=NOON_US,
    key={"host": "10.0.0.1"},
    values={"attempts": 30.0, "servers": 1, "some": ["10.9.0.1", "10.9.0.2"]},
    levels=(),
    passed=(),
    begin=NOON + timedelta(seconds=2),
    end=NOON + timedelta(seconds=39.4),
    records=30,
    examples=[{"id.orig_h": "10.0.0.1", "uid": f"C{number}"} for number in range(25)],
)

SERIES = replace(GUESSING, levels=(30.0, 300.0, 3000.0), condition=condition("attempts"))


def at(level, summary=SERIES, **changes):
    return candidate(summary, replace(CROSSED, levels=(level,), **changes), CUTOFFS)


def test_a_crossing_as_a_candidate():
    proposed = candidate(GUESSING, CROSSED, CUTOFFS)
    assert (proposed.detector, proposed.kind, proposed.entity) == ("summary", "brute-force", "10.0.0.1")
    assert proposed.title == "10.0.0.1 guessed passwords 30 times on 1 servers in 37 s"
    assert proposed.about == "ssh-guessing 2025-01-08T12:00:00Z"
    assert (proposed.start, proposed.end) == (CROSSED.begin, CROSSED.end)
    assert (proposed.score, proposed.raw, proposed.explicit) == (99.9, 30.0, True)
    assert (proposed.record_count, len(proposed.records)) == (30, MOST_RECORDS)
    assert proposed.scope == {"id.orig_h": "10.0.0.1"}
    first, *others = proposed.reasons
    assert (first.field, first.seen, first.expected, first.share) == ("attempts", "30 seen", "under 30 in 30 min", 1.0)
    assert [(each.field, each.seen, each.share) for each in others] == [
        ("servers", "1", 0.0),
        ("some", "10.9.0.1, 10.9.0.2", 0.0),
    ]


def test_a_further_level_scores_higher_within_its_severity():
    scores = [at(level).score for level in SERIES.levels]
    assert scores == sorted(set(scores))
    assert scores[0] == 99.9
    assert scores[-1] < 99.99
    assert at(300.0).reasons[0].expected == "under 300 in 30 min"


@given(st.lists(st.sampled_from(SEVERITIES), min_size=4, max_size=4))
def test_scores_rise_whatever_the_severities(severities):
    summary = replace(SERIES, levels=(1.0, 2.0, 3.0, 4.0), severities=tuple(severities))
    scores = [at(level, summary).score for level in summary.levels]
    assert scores == sorted(set(scores))
    edges = (0.0, *CUTOFFS, 100.0)
    for score, severity in zip(scores, severities, strict=True):
        assert score >= edges[SEVERITIES.index(severity)]
    assert scores[0] == edges[SEVERITIES.index(severities[0])]


def test_cut_offs_that_coincide_raise_nothing():
    summary = replace(SERIES, severities=("critical",))
    same = candidate(summary, replace(CROSSED, levels=(300.0,)), (100.0, 100.0, 100.0, 100.0))
    assert same.score == 100.0


def test_each_key_of_each_window_of_each_summary_is_a_finding():
    by_port = replace(GUESSING, key_parts=("host", "port"))

    def identity(summary=by_port, **changes):
        key = {"host": "10.0.0.1", "port": "22"}
        return finding_id("campus", candidate(summary, replace(CROSSED, key=key, **changes), CUTOFFS))

    several = [
        identity(),
        identity(window=NOON_US + 1800 * SECOND_US),
        identity(replace(by_port, name="ftp-guessing")),
        finding_id("campus", candidate(by_port, replace(CROSSED, key={"host": "10.0.0.1", "port": None}), CUTOFFS)),
        finding_id("campus", candidate(by_port, replace(CROSSED, key={"host": "10.0.0.1", "port": "-"}), CUTOFFS)),
        finding_id("campus", candidate(by_port, replace(CROSSED, key={"host": None, "port": "22"}), CUTOFFS)),
        finding_id("campus", candidate(by_port, replace(CROSSED, key={"host": "-", "port": "22"}), CUTOFFS)),
    ]
    assert len(set(several)) == len(several)
    later = NOON + timedelta(days=1)
    assert identity(begin=later, end=later, records=99, values={}) == identity()


def test_a_global_key_is_about_the_summary():
    everywhere = replace(GUESSING, key_parts=(), entity="")
    proposed = candidate(everywhere, replace(CROSSED, key={}), CUTOFFS)
    assert (proposed.entity, proposed.scope) == ("ssh-guessing", {})
    assert proposed.title.startswith("- guessed")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("attempts > 30", ["at most 30 in 30 min"]),
        ("attempts >= 5 and servers >= 3", ["under 5 in 30 min", "under 3 in 30 min"]),
        ("attempts >= 10 or attempts >= 40", ["under 10 in 30 min"]),
        ("servers / attempts < 0.5", ["not (servers / attempts < 0.5) in 30 min"] * 2),
    ],
)
def test_what_was_expected(sql, expected):
    proposed = candidate(replace(GUESSING, condition=condition(sql)), CROSSED, CUTOFFS)
    reasons = [each for each in proposed.reasons if each.share]
    assert [each.expected for each in reasons] == expected
    assert sum(each.share for each in reasons) == pytest.approx(1)


def test_levels_of_an_expression_say_which():
    ratio = replace(SERIES, condition=condition("attempts / servers"))
    assert at(300.0, ratio).reasons[0].expected == "attempts / servers under 300 in 30 min"


def test_only_plain_columns_that_all_inputs_share_are_the_scope():
    one = GUESSING.inputs[0]
    mixed = replace(
        GUESSING,
        inputs=(
            replace(one, key={"host": "saddr", "port": "dport", "day": "date_trunc('day', ts)"}),
            replace(one, key={"host": "daddr", "port": '"dport"', "day": "date_trunc('day', ts)"}),
        ),
    )
    crossed = replace(CROSSED, key={"host": "10.0.0.1", "port": "22", "day": "2025-01-08"})
    assert candidate(mixed, crossed, CUTOFFS).scope == {}
    same = replace(mixed, inputs=mixed.inputs[:1])
    assert candidate(same, crossed, CUTOFFS).scope == {"saddr": "10.0.0.1", "dport": "22"}
    assert candidate(same, replace(crossed, key=crossed.key | {"host": None}), CUTOFFS).scope == {"dport": "22"}


def test_a_key_that_is_new_says_so():
    new = replace(GUESSING, new_for_us=7 * 86_400 * SECOND_US)
    (reason,) = [each for each in candidate(new, CROSSED, CUTOFFS).reasons if each.field == "key"]
    assert (reason.seen, reason.expected) == ("host 10.0.0.1", "seen in the last 7 d")


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("{x}", None, "-"),
        ("{x:.1f}", None, "-"),
        ("{x}", "", "-"),
        ("{x}", 30.0, "30"),
        ("{x}", 1 / 3, "0.333333"),
        ("{x:.2f}", 1 / 3, "0.33"),
        ("{x:.0f}", "many", "many"),
        ("{x:,}", 12345, "12,345"),
        ("{x}", float("inf"), "inf"),
        ("{x:d}", float("nan"), "nan"),
        ("{x}", ["a", None, "b"], "a, -, b"),
        ("{x:.0f}", ["a"], "a"),
        ("{x}", [{"value": "a", "count": 3, "error": 0}], "a (3)"),
        ("{x}", NOON, "2025-01-08T12:00:00Z"),
        ("{x}", "\x1b[31m", "\x1b[31m"),
        ("{unknown} {x.__class__} {x[0]}", 1, "- - -"),
        ("{{x}}", 1, "{x}"),
        ("{level} {duration}", 1, "- 37 s"),
    ],
)
def test_titles_take_any_value(form, value, expected):
    crossed = replace(CROSSED, values={"x": value})
    assert title(replace(GUESSING, title=form), crossed) == expected


@given(st.dictionaries(st.sampled_from(["attempts", "servers", "some"]), st.none() | st.floats() | st.text()))
def test_odd_values_raise_nothing(values):
    proposed = candidate(GUESSING, replace(CROSSED, values=values), CUTOFFS)
    assert re.search("guessed passwords", proposed.title)
    assert proposed.raw == proposed.raw


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"), (0.4, "0 s"), (-5, "0 s"), (37.4, "37 s"), (252, "4 m 12 s"), (240, "4 m"),
        (7500, "2 h 5 m"), (7205, "2 h"), (86_400 * 3 + 3600 * 4, "3 d 4 h"), (86_400, "1 d"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds, expected):
    assert words(seconds) == expected


def test_plain_numbers():
    assert [plain(each) for each in (12, 12.0, 1e20, 0.00001, True)] == ["12", "12", "1e+20", "1e-05", "True"]
