"""Fingerprint profiles: novelty by the documented equations, against a slow oracle; laws; planted changes."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.detector import dump_state, load_state
from tocsin.detectors.outlier import fingerprint as module
from tocsin.detectors.outlier.fingerprint import FingerprintProfiles
from tocsin.errors import ModelError
from tocsin.settings import FingerprintSettings

START = datetime(2025, 1, 8, tzinfo=UTC)


def flows(rows, *, field="ndpi_ja4", server=None):
    """Make a table of (originator, fingerprint) rows, a second apart."""
    times = pa.array([START + timedelta(seconds=i) for i in range(len(rows))], pa.timestamp("us", "UTC"))
    columns = {
        "stime": times,
        "saddr": pa.array([row[0] for row in rows], pa.string()),
        "daddr": pa.array(["10.9.9.9"] * len(rows), pa.string()),
        field: pa.array([row[1] for row in rows], pa.string()),
    }
    if server is not None:
        columns["ndpi_ja3s"] = pa.array(server, pa.string())
    return pa.table(columns)


def profiles(rows, **settings):
    return FingerprintProfiles(FingerprintSettings(**{"min_observations": 3, **settings})).build([flows(rows)])


def slow_novelty(history, row, least=3):
    """The equation of a flow, one flow at a time."""
    host, seen = row
    own = Counter(fp for h, fp in history if h == host and fp)
    if not seen or own.total() < least:
        return float("nan")
    everybody = {h for h, fp in history if fp}
    others = {h for h, fp in history if fp == seen} - {host}
    share = len(others) / (len(everybody) + 1) if any(fp == seen for _, fp in history) else 0.0
    return own.total() / (own.total() + len(own)) * (1 - share) / (1 + own[seen])


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["x", "y", "z", "w", "", None])), max_size=40
)


@settings(max_examples=40)
@given(ROWS, ROWS)
def test_novelty_is_the_equation(history, day):
    found = profiles(history).novelty(flows(day))
    expected = [slow_novelty(history, row) for row in day]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert not np.any((found < 0) | (found > 1))


@settings(max_examples=40)
@given(ROWS, st.integers(0, 40), st.integers(0, 40))
def test_the_same_is_learned_however_it_is_split_and_merged(rows, first, second):
    first, second = sorted((first, second))
    parts = [rows[:first], rows[first:second], rows[second:]]
    table = flows(rows)
    lengths = [len(part) for part in parts]
    cuts = [table.slice(sum(lengths[:i]), lengths[i]) for i in range(3)]
    whole = FingerprintProfiles().build([table])
    a, b, c = (FingerprintProfiles().build([cut]) for cut in cuts)
    merged = FingerprintProfiles().merge(c).merge(a).merge(b)
    batched = FingerprintProfiles().build(cuts)
    for role in ("client", "server"):
        assert merged.pairs(role).equals(whole.pairs(role))
        assert batched.pairs(role).equals(whole.pairs(role))


@settings(max_examples=40)
@given(ROWS, ROWS)
def test_saved_and_restored_scores_the_same(history, day):
    original = profiles(history, max_fingerprints_per_host=2)
    copy = FingerprintProfiles().restore(load_state(dump_state(original.state())))
    np.testing.assert_array_equal(copy.novelty(flows(day)), original.novelty(flows(day)))
    assert copy.settings == original.settings
    assert copy.candidates(flows(day)) == original.candidates(flows(day))


def test_a_hosts_own_fingerprint_is_no_news_and_another_is():
    known = profiles([("a", "x")] * 99 + [("b", "y")] * 99)
    own, foreign, unseen = known.novelty(flows([("a", "x"), ("a", "y"), ("a", "q")]))
    assert own < 0.011
    assert foreign == pytest.approx(0.99 * (1 - 1 / 3))
    assert unseen == pytest.approx(0.99)


def test_what_is_unknown_is_nan():
    known = profiles([("a", "x")] * 2 + [("b", "x")] * 9)
    assert np.isnan(known.novelty(flows([("a", "q"), ("z", "x"), ("b", None)]))).all()
    assert np.isnan(known.novelty(flows([("b", "x")]).drop_columns("ndpi_ja4"))).all()
    assert FingerprintProfiles().novelty(flows([])).shape == (0,)


def test_the_next_field_is_taken_where_the_first_is_missing_and_fields_are_not_mixed():
    table = flows([("a", "x")] * 5 + [("a", None)] * 5).append_column(
        "ndpi_tcp_fp", pa.array(["tcp"] * 10, pa.string())
    )
    known = FingerprintProfiles(FingerprintSettings(min_observations=5)).build([table])
    assert known.pairs("client").column("fingerprint").to_pylist() == ["ndpi_ja4:x", "ndpi_tcp_fp:tcp"]
    novelty = known.novelty(flows([("a", "other")], field="ndpi_tcp_fp"))
    assert novelty.tolist() == [pytest.approx(5 / 6)]


def test_servers_are_judged_by_their_own_fingerprint():
    known = FingerprintProfiles(FingerprintSettings(min_observations=3))
    known.build([flows([("a", None)] * 9, server=["s1"] * 9)])
    (changed,) = known.novelty(flows([("a", None)], server=["s2"]))
    assert changed == pytest.approx(0.9)


def test_a_swapped_device_is_reported_with_what_was_seen_and_expected():
    history = [("a", "x")] * 50 + [("b", "y")] * 50 + [("c", "z")] * 50
    day = [("a", "evil")] * 20 + [("b", "y")] * 20 + [("c", "z")] * 20
    (candidate,) = profiles(history).candidates(flows(day))
    assert (candidate.detector, candidate.kind, candidate.entity) == ("fingerprint", "fingerprint-change", "a")
    assert candidate.raw == pytest.approx(50 / 51 * 20 / 21)
    assert 99.0 < candidate.score < 99.99
    assert (candidate.start, candidate.end) == (START, START + timedelta(seconds=19))
    (reason,) = candidate.reasons
    assert (reason.field, reason.expected, reason.share) == ("ndpi_ja4", "never seen on this host", 1.0)
    assert reason.seen == "evil in 20 of 20 flows"
    assert candidate.scope == {"saddr": "a"}
    assert candidate.record_count == 20


def test_a_new_fingerprint_that_everybody_has_is_an_update():
    hosts = [f"h{n}" for n in range(20)]
    history = [(host, "old") for host in hosts for _ in range(10)]
    day = [(host, "new") for host in hosts for _ in range(10)]
    assert profiles(history).candidates(flows(day)) == []
    assert len(profiles(history).candidates(flows([("h0", "new")] * 10))) == 1


def test_the_same_day_again_is_no_change():
    rows = [("a", "x")] * 30 + [("a", "y")] * 5 + [("b", "z")] * 30
    known = profiles(rows)
    day = FingerprintProfiles(known.settings).build([flows(rows)])
    assert max(change.novelty for change in known.changes(day)) == 0.0


def test_a_host_with_little_history_or_a_short_day_is_not_judged():
    assert profiles([("a", "x")] * 2).candidates(flows([("a", "q")] * 9)) == []
    assert profiles([("a", "x")] * 9).candidates(flows([("a", "q")] * 2)) == []


def test_many_fingerprints_on_one_host_are_suspicious():
    day = flows([("nat", f"fp{n}") for n in range(12)] + [("pc", "x")] * 12)
    (candidate,) = profiles([]).candidates(day)
    assert (candidate.kind, candidate.entity, candidate.raw) == ("many-fingerprints", "nat", 12.0)
    assert candidate.reasons[0].expected == "at most 5"
    assert profiles([], detect_suspicious=False).candidates(day) == []
    assert profiles([], max_fingerprints_per_host=12).candidates(day) == []


def test_memory_is_bounded_and_the_frequent_stay(monkeypatch):
    monkeypatch.setattr(module, "MAX_PAIRS", 2)
    known = profiles([("a", "rare"), ("a", "x"), ("a", "x"), ("b", "y"), ("b", "y")])
    assert known.pairs("client").column("fingerprint").to_pylist() == ["ndpi_ja4:x", "ndpi_ja4:y"]


FAULTS = {
    "another format": {"format": 99},
    "a column missing": {"client_count": None},
    "an index out of range": {"client_host": np.array([7], np.int32)},
    "settings of another version": {"settings": {"nonsense": 1}},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_state_is_refused(fault):
    state = profiles([("a", "x")]).state()
    for key, value in FAULTS[fault].items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    with pytest.raises(ModelError, match="build them again"):
        FingerprintProfiles().restore(state)


def test_many_fingerprints_are_no_news_of_a_server_or_of_who_always_had_them():
    day = flows([("nat", f"fp{n}") for n in range(12)])
    answers = day.append_column("ndpi_ja3s", pa.array([f"s{n}" for n in range(12)]))
    assert [item.entity for item in profiles([]).candidates(answers)] == ["nat"]
    assert profiles([("nat", f"old{n}") for n in range(12)]).candidates(day) == []
