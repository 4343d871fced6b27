"""Records behind findings of a window's end."""

import numpy as np

from tocsin.jobs.recent import Recent
from tocsin.testing.summaries import Simulation, a_summary, a_table

ROWS = [("a", 10.0, second) for second in range(30)] + [("b", 1.0, second) for second in range(30)]


def _crossings(summary):
    return Simulation([summary]).run(a_table(ROWS)).output.crossings


def test_the_newest_records_of_a_key_are_shown():
    summary = a_summary({"mean": "average"}, "mean >= 5")
    recent = Recent({"test": summary})
    recent.add("event", a_table(ROWS))
    [crossing] = _crossings(summary)
    assert crossing.examples == []
    [shown] = recent.shown([crossing])
    assert len(shown.examples) == 20
    assert {row["host"] for row in shown.examples} == {"a"}
    assert shown.examples[-1]["ts"] == "1970-01-01T00:00:29Z"


def test_what_is_told_at_the_record_has_its_records_already():
    summary = a_summary({"n": "count"}, "n >= 5")
    recent = Recent({"test": summary})
    recent.add("event", a_table(ROWS))
    crossings = _crossings(summary)
    assert recent.shown(crossings) == list(crossings)


def test_only_so_many_are_kept():
    summary = a_summary({"mean": "average"}, "mean >= 5")
    recent = Recent({"test": summary}, most_rows=99)
    old, new = a_table([("a", 10.0, 1)] * 100), a_table([("b", 1.0, 2)] * 100)
    recent.add("event", old)
    recent.add("event", new)
    recent.add("other", old)
    [crossing] = _crossings(summary)
    assert recent.shown([crossing]) == [crossing]


def test_each_key_has_its_own():
    summary = a_summary({"mean": "average"}, "mean >= 0")
    recent = Recent({"test": summary})
    for start in range(0, 60, 7):
        recent.add("event", a_table(ROWS[start : start + 7]))
    shown = recent.shown(_crossings(summary))
    assert [np.unique([row["host"] for row in each.examples]).tolist() for each in shown] == [["a"], ["b"]]
