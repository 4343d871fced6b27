"""Novelty detectors out of the settings: what is filled in, and what is wrong by key."""

import pytest

from tocsin.detectors.novelty.definition import build, doubts
from tocsin.detectors.novelty.options import Bins
from tocsin.errors import SettingsError
from tocsin.settings_novelty import NoveltySettings

GOOD = {"name": "conns", "input": "zeek.conn", "observe": ["proto", "service", "conn_state"]}


def built(**more):
    (made,) = build([NoveltySettings(**GOOD | more)])
    return made


def test_what_is_not_said_is_what_the_kind_has():
    made = built()
    assert (made.entity, made.finding_kind, made.threshold) == ("id.orig_h", "conns", 0.999)
    assert "duration" in made.time
    assert made.options.fields == ("proto", "service", "conn_state")
    assert made.plain == {0: "proto", 1: "service", 2: "conn_state"}
    assert built(input="event", time="", entity="").entity == ""


def test_options_come_from_the_settings():
    made = built(
        observe=["proto", "orig_bytes"], order="auto", half_life="7d", warm_up=10, bins={"orig_bytes": {"quantiles": 8}}
    )
    assert (made.options.order, made.options.half_life_s, made.options.warm_up) == ("auto", 604_800.0, 10)
    assert made.options.bins == {"orig_bytes": Bins(quantiles=8)}
    assert built(window_records=5000).options.window == 5000


def test_one_that_is_off_is_left_out():
    assert build([NoveltySettings(**GOOD, enabled=False)]) == ()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"name": ""}, r"novelty\.0\.name: must be set"),
        ({"input": "flows"}, r"novelty\.0\.input: is no record kind \(got 'flows'\)"),
        ({"observe": []}, r"novelty\.0\.observe: must name"),
        ({"observe": ["proto", "sum(bytes)"]}, r"novelty\.0\.observe\.1: 'sum\(bytes\)'"),
        ({"observe": ["proto", ""]}, r"novelty\.0\.observe\.1: '': it is empty"),
        ({"where": "a ="}, r"novelty\.0\.where: 'a ='"),
        ({"observe": ["proto", "proto"]}, r"novelty\.0\.observe: 'proto' is there twice"),
        ({"observe": [f"c{at}" for at in range(33)]}, r"novelty\.0\.observe: 33 of them; .* at most 32"),
        ({"half_life": "1d", "window": "2d"}, r"novelty\.0\.half_life and novelty\.0\.window: give only one"),
        ({"half_life": "1d", "window_records": 200}, r"novelty\.0\.half_life and novelty\.0\.window_records: give"),
        ({"bins": {"proto": {"edges": [3, 1]}}}, r"novelty\.0\.bins\.proto\.edges: \[3.0, 1.0\] must rise"),
        ({"bins": {"proto": {}}}, r"novelty\.0\.bins\.proto: give either edges"),
        ({"bins": {"bytes": {"quantiles": 4}}}, r"novelty\.0\.bins\.bytes: there is no such field"),
    ],
)
def test_what_is_wrong_is_told_by_key(more, says):
    with pytest.raises(SettingsError, match=says):
        built(**more)


def test_a_name_that_is_there_twice_and_every_other_problem_are_told_at_once():
    wrong = [NoveltySettings(**GOOD), NoveltySettings(**GOOD), NoveltySettings(**GOOD | {"name": "b", "input": "x"})]
    with pytest.raises(SettingsError) as raised:
        build(wrong)
    first, second = str(raised.value).splitlines()
    assert first == "novelty.1.name: there is a novelty detector 'conns' already"
    assert second.startswith("novelty.2.input: ")


def test_a_column_that_is_hardly_there_is_doubted():
    assert doubts(built()) == []
    assert doubts(built(observe=["proto", "servce"])) == [("servce", "service")]
