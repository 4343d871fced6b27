"""Settings of summaries: lengths of time, short forms, and presets that are overridden."""

import re

import pytest
from pydantic import ValidationError

from tocsin.errors import SettingsError
from tocsin.settings import Settings
from tocsin.settings_summaries import Duration, Epoch, SummarySettings, overridden


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        *(
            ("90s", 90),
            ("30m", 1800),
            ("1h", 3600),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("1d", 86_400),
            ("2w", 1_209_600),
        ),
        *(("0.5h", 1800), ("250ms", 0.25), (90, 90), (1.5, 1.5), ("90", 90), (0, 0)),
    ],
)
def test_lengths_of_time(written, seconds):
    assert Duration.read(written) == seconds


@pytest.mark.parametrize("written", ["90s", "30m", "1h", "90m", "1d", "2w", "250ms", 0.0001, 0])
def test_a_length_of_time_is_written_as_it_may_be_read(written):
    assert Duration.read(written).written() == written
    assert Duration.read(Duration.read(written).written()) == Duration.read(written)


@pytest.mark.parametrize("written", ["", "30x", "m", "-5m", -5, True, None, "manual", [1], "1h,5m"])
def test_what_is_no_length_of_time(written):
    with pytest.raises(ValueError, match="must be a length of time such as 90s, 30m, 1h or 1d"):
        Duration.read(written)


def test_an_epoch_may_be_manual():
    assert Epoch.read("manual") == 0
    assert Epoch.read("manual").written() == "manual"
    assert Epoch.read("5m").written() == "5m"
    with pytest.raises(ValueError, match="write manual for one that ends when told"):
        Epoch.read(0)


def test_short_forms():
    entry = SummarySettings(threshold="a > 3", severity="low", observe=1, where=True, key={"a": 5}, epoch="5m")
    assert entry.threshold.sql == "a > 3"
    assert (entry.severity, entry.observe, entry.where, entry.key) == (["low"], "1", "true", {"a": "5"})
    assert SummarySettings(threshold={"of": "a", "at": [1, 2]}).threshold.at == [1, 2]
    assert SummarySettings().lateness == 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": {"of": "a"}},
        {"threshold": {"at": [3]}},
        {"threshold": {"of": "a", "at": [3, 3]}},
        {"threshold": {"sql": "a > 3", "of": "a", "at": [3]}},
        {"inputs": [{"input": "flow"}], "input": "event"},
        {"inputs": [{"input": "flow"}], "reduce": {"n": "count"}},
        {"severity": "bad"},
        {"severity": ["low", "bad"]},
        {"max_keys": 0},
        {"name": "a b"},
        {"nosuch": 1},
    ],
)
def test_what_is_refused(wrong):
    with pytest.raises(ValidationError):
        SummarySettings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"key": "id.orig_h"}, "must be names with SQL, such as {host: id.orig_h} (got 'id.orig_h')"),
        ({"threshold": 5}, "must be a condition such as attempts >= 30, or {of: attempts, at: [30]} (got 5)"),
    ],
)
def test_a_wrong_form_is_told_with_the_right_one(wrong, says):
    with pytest.raises(ValidationError, match=re.escape(says)):
        SummarySettings(**wrong)


def test_what_is_written_reads_as_the_same_again():
    entry = SummarySettings(name="a", epoch="manual", lateness="1m", new_for="1d", threshold={"of": "a", "at": [3]})
    assert SummarySettings(**entry.model_dump()) == entry
    assert Settings(summaries=[entry.model_dump(mode="json")]).summaries == [entry]


def test_inputs_have_what_stands_beside_them_unless_they_say_it():
    entry = SummarySettings(input="flow", key={"host": "saddr"}, inputs=[{"where": "a"}, {"input": "event"}])
    assert [(each.input, each.where, each.key) for each in entry.inputs] == [
        ("flow", "a", {"host": "saddr"}),
        ("event", "", {"host": "saddr"}),
    ]


def test_keys_go_before_the_presets():
    preset = {"name": "p", "epoch": "1m", "threshold": "a > 3", "reduce": {"a": "sum", "b": "max"}}
    entry = SummarySettings(preset="p", epoch="manual", reduce={"a": "count"})
    whole = overridden(entry, preset, "summaries.4")
    assert (whole.name, whole.epoch, whole.threshold.sql, whole.reduce) == ("p", 0, "a > 3", {"a": "count"})
    with pytest.raises(SettingsError, match=r"^summaries\.4: inputs and reduce are both set"):
        overridden(entry, {"inputs": [{"input": "flow"}]}, "summaries.4")
