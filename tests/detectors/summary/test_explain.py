"""Summaries in words."""

import pytest

from tocsin.detectors.summary.accumulator import REDUCERS
from tocsin.detectors.summary.build import build
from tocsin.detectors.summary.definition import Reducer
from tocsin.detectors.summary.explain import early, explain, reducer_words
from tocsin.settings import Settings


def built(**keys):
    entry = {"name": "a", "input": "flow", "key": {"host": "saddr"}, "reduce": {"n": "count"}, "epoch": "5m", **keys}
    return build(Settings(summaries=[entry]).summaries)[0]


@pytest.mark.parametrize("kind", REDUCERS)
def test_every_reducer_has_words(kind):
    told = reducer_words(Reducer("a", kind, "daddr", REDUCERS[kind][1]), "1")
    assert "{" not in told
    assert "daddr" in told or kind in ("first_seen", "last_seen", "regularity")


def test_options_are_told():
    told = [
        reducer_words(Reducer("a", kind, of, REDUCERS[kind][1] | options), "sbytes")
        for kind, of, options in (
            ("sum", "", {}),
            ("count", "", {}),
            ("count", "daddr", {}),
            ("unique", "daddr", {"max": 5000}),
            ("hll_unique", "daddr", {"error": 0.03}),
            ("regularity", "1", {"by": "sbytes"}),
        )
    ]
    assert told == [
        "sum of sbytes",
        "number of records",
        "number of records that have daddr",
        "different values of daddr, exact up to 5,000",
        "different values of daddr, estimated: within 3.0% with 95% confidence",
        "how evenly the records are spaced in time and size (sbytes), from 0 to 1",
    ]


def test_when_it_rings():
    assert early(built()) == "never; only results"
    assert early(built(threshold="n >= 3")).startswith("with the record")
    assert early(built(threshold="n / 2 >= 3", lateness="90s")) == (
        "when the window has ended and 1 min 30 s for late records are over"
    )
    told = explain(built(threshold="n >= 3", new_for="7d", learn="1d", severity="low", title="{host} is new"))
    assert told["rings"] == [
        "when n >= 3 (low)",
        "for keys that were in no window for 7 d, after 1 d of learning",
        "when the window has ended and 5 min for late records are over",
        "as a, about host: {host} is new",
    ]


def test_what_is_counted_and_in_which_windows():
    told = explain(built(where="proto = 'tcp'", epoch="1h", every="5m", origin="first", max_keys=10, max_mb=1))
    assert told["counts"] == [
        "flow records where proto = 'tcp'",
        "  for each host (saddr); time: coalesce(etime, stime)",
        "  n: number of records",
    ]
    assert told["windows"] == ["of 1 h, one every 5 min, beginning with the first record; late records count for 5 min"]
    assert "in each of 12 open windows" in told["memory"][0]
    assert told["memory"][1] == "at most 10 keys and 1 MiB a window and worker"
    told = explain(built(key={}, epoch="manual"))
    assert "window, over all records" in told["counts"][1]
    assert told["windows"] == ["one, until it is told to end"]
