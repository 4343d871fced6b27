from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.errors import SettingsError
from tocsin.records.finding import Candidate, Reason
from tocsin.records.suppression import Suppression
from tocsin.verdict.suppression import check_rule, first_match, matches, parse_hours, parse_weekdays

NIGHT = datetime(2025, 1, 8, 23, 30, tzinfo=UTC)  # a Wednesday
RULE = Suppression(id="r", owner="ann", reason="known scanner", created=NIGHT)
SUBJECT = Candidate(
    detector="outlier",
    kind="unusual-flows",
    entity="10.1.2.3",
    start=NIGHT,
    end=NIGHT + timedelta(hours=2),
    raw=9.0,
    score=99.95,
    title="t",
    reasons=[Reason("dport", "4444", "443, 53", 0.7)],
    records=[{"dport": 4444, "proto": "tcp"}, {"dport": 4445, "proto": "tcp"}],
    scope={"saddr": "10.1.2.3"},
)


@pytest.mark.parametrize(
    "holds",
    [
        {"entity": "10.1.2.3"},
        {"network": "10.1.0.0/16"},
        {"network": "10.1.2.3/16"},
        {"field": "dport"},
        {"field": "dport", "value": "4444", "no_records": True},
        {"field": "proto", "value": "tcp"},
        {"field": "saddr", "value": "10.1.2.3"},
        {"detector": "outlier"},
        {"kind": "unusual-flows"},
        {"valid_from": NIGHT},
        {"valid_until": NIGHT + timedelta(hours=2, seconds=1)},
        {"weekdays": "wed-thu"},
        {"hours": "22-06"},
        {"entity": "10.1.2.3", "kind": "unusual-flows", "hours": "23-02", "weekdays": "wed,thu", "domain": "campus"},
    ],
)
def test_holds(holds):
    subject = replace(SUBJECT, records=[]) if holds.pop("no_records", False) else SUBJECT
    assert matches(replace(RULE, **holds), "campus", subject)


@pytest.mark.parametrize(
    "fails",
    [
        {},
        {"domain": "campus"},
        {"domain": "lab", "entity": "10.1.2.3"},
        {"entity": "10.1.2.30"},
        {"network": "10.2.0.0/16"},
        {"network": "fe80::/10"},
        {"field": "dport", "value": "4444"},  # another record shows 4445
        {"field": "sport"},
        {"field": "saddr", "value": "10.1.2.4"},
        {"detector": "hosts"},
        {"kind": "beacon"},
        {"valid_from": NIGHT + timedelta(seconds=1)},
        {"valid_until": NIGHT + timedelta(hours=2)},
        {"weekdays": "wed"},  # ends on Thursday
        {"weekdays": "sat,sun"},
        {"hours": "22-01"},
        {"hours": "08-18"},
        {"entity": "10.1.2.3", "kind": "beacon"},
    ],
)
def test_does_not_hold(fails):
    assert not matches(replace(RULE, **fails), "campus", SUBJECT)


def test_network_of_an_entity_that_is_no_address():
    assert not matches(replace(RULE, network="10.0.0.0/8"), "campus", replace(SUBJECT, entity="printer"))


def test_first_of_several():
    rules = [replace(RULE, id="a", kind="beacon"), replace(RULE, id="b", kind="unusual-flows"), replace(RULE, id="c")]
    found = first_match(rules, "campus", SUBJECT)
    assert found is not None
    assert found.id == "b"
    assert first_match(rules[:1], "campus", SUBJECT) is None


def test_windows_are_read():
    assert parse_weekdays("fri-mon") == {4, 5, 6, 0}
    assert parse_weekdays("") == set(range(7))
    assert parse_hours("8-18") == (480, 1080)
    assert parse_hours("08:30-24") == (510, 0)
    assert matches(replace(RULE, hours="22-24"), "", replace(SUBJECT, end=NIGHT))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "needs a condition"),
        ({"entity": "x", "owner": " "}, "owner and a reason"),
        ({"entity": "x", "value": "1"}, "needs a field"),
        ({"network": "10.1"}, "no CIDR block"),
        ({"weekdays": "mo"}, "'mo' is none of mon"),
        ({"hours": "7"}, "no window"),
        ({"hours": "7-7"}, "no window"),
        ({"hours": "25-3"}, "no window"),
        ({"valid_from": NIGHT, "valid_until": NIGHT}, "covers no time"),
    ],
)
def test_a_rule_that_cannot_hold_is_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        check_rule(replace(RULE, **wrong))


def test_a_good_rule_passes():
    check_rule(replace(RULE, network="10.0.0.0/8", weekdays="mon-fri", hours="22-06"))
