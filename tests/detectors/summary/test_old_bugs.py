"""What the original framework gets wrong, one test each: section and letter are those of its description."""

import numpy as np
import pytest

from tocsin.cluster.single import SingleEngine
from tocsin.detectors.summary.definition import SECOND_US
from tocsin.detectors.summary.merger import Merger
from tocsin.detectors.summary.table import KeyTable
from tocsin.detectors.summary.worker import Worker
from tocsin.testing.summaries import Simulation, a_summary, a_table


def _ordinals(count, first=0):
    return np.arange(first, first + count, dtype=np.uint64)


def _rows(host, count, second):
    return a_table([(host, 1.0, second)] * count)


def test_b1_epochs_end_in_a_summary_that_has_thresholds_only():
    engine = SingleEngine([a_summary({"n": "count"}, "n >= 30", window_s=60, lateness_us=0)])
    told = []
    for epoch in range(3):
        told += engine.observe("event", _rows("a", 29, 60 * epoch + 1), _ordinals(29)).crossings
        output = engine.advance(60 * (epoch + 1) * SECOND_US)
        assert [result.table.num_rows for result in output.results] == [1]
    assert told == []
    assert engine.status()[0].keys == 0


def test_b1_a_key_may_cross_in_every_epoch():
    engine = SingleEngine([a_summary({"n": "count"}, "n >= 30", window_s=60, lateness_us=0)])
    told = [engine.observe("event", _rows("a", 40, 60 * epoch + 1), _ordinals(40)).crossings for epoch in range(3)]
    assert [len(each) for each in told] == [1, 1, 1]


def test_b2_counting_goes_on_after_the_last_level_of_a_series():
    results = Simulation([a_summary({"n": "count"}, "n", at=[3, 6])]).run(_rows("a", 100, 1), batch=7).results()
    assert [row["n"] for row in results.values()] == [100]


def test_b3_a_condition_needs_nobody_to_tell():
    simulation = Simulation([a_summary({"n": "count"}, "n >= 2")], workers=3).run(_rows("a", 9, 1), batch=1)
    assert len(simulation.output.crossings) == 1
    assert [row["n"] for row in simulation.results().values()] == [9]


def test_b4_two_reducers_of_one_stream_count_each_record_once():
    summary = a_summary({"n": "count", "average": "average", "tops": ("topk", {"size": 3})})
    [row] = Simulation([summary]).run(a_table([("a", 2.0, 1), ("a", 4.0, 1)])).results().values()
    assert (row["n"], row["average"]) == (2, 3.0)
    assert sum(top["count"] for top in row["tops"]) == 2


@pytest.mark.parametrize("workers", [2, 7])
def test_b5_an_element_seen_by_all_workers_counts_once(workers):
    summary = a_summary({"hosts": ("hll_unique", {"of": "host"})}, key=())
    table = a_table([(f"10.0.0.{number % 50}", 1.0, 1) for number in range(50 * workers)])
    [row] = Simulation([summary], workers=workers).run(table, batch=1).results().values()
    assert row["hosts"] == pytest.approx(50, abs=1)


@pytest.mark.parametrize("empty_first", [True, False])
def test_b6_an_empty_partial_changes_nothing_on_either_side(empty_first):
    summary = a_summary({"variance": "variance", "average": "average"})
    worker = Worker([summary])
    values = (75, 30, 3, 57, 52, 61, 95)
    worker.observe("event", a_table([("a", float(value), 1) for value in values]), _ordinals(len(values)))
    filled = worker.value("test", {"host": "a"})[0].table
    other = Worker([summary])
    other.observe("event", a_table([("a", None, 1)]), _ordinals(1))
    empty = other.value("test", {"host": "a"})[0].table
    merged = KeyTable(summary)
    for partial in (empty, filled) if empty_first else (filled, empty):
        merged.merge(partial)
    assert merged.results(merged.all_slots()).to_pylist()[0]["variance"] == pytest.approx(892.904762)


def test_b7_a_crossing_at_the_end_of_an_epoch_does_not_mute_the_next():
    summary = a_summary({"n": "count"}, "n >= 100", window_s=60, lateness_us=0)
    simulation = Simulation([summary], workers=10, mergers=2)
    for epoch in range(3):
        for worker in simulation.workers:
            simulation.pass_on(worker.observe("event", _rows("a", 12, 60 * epoch + 1), _ordinals(12)))
        for worker in simulation.workers:
            simulation.pass_on(worker.advance(60 * (epoch + 1) * SECOND_US))
    assert [crossing.window // (60 * SECOND_US) for crossing in simulation.output.crossings] == [0, 1, 2]


def test_b8_a_crossing_is_told_once_though_it_is_seen_early_and_at_the_end():
    summary = a_summary({"n": "count"}, "n >= 10", window_s=60, lateness_us=0)
    simulation = Simulation([summary], workers=4)
    for worker in simulation.workers:
        simulation.pass_on(worker.observe("event", _rows("a", 5, 1), _ordinals(5)))
    assert [crossing.early for crossing in simulation.output.crossings] == [True]
    for worker in simulation.workers:
        simulation.pass_on(worker.finish())
    assert len(simulation.output.crossings) == 1


def test_b9_a_worker_that_stays_away_stalls_nothing_and_spoils_no_other_key():
    summary = a_summary({"n": "count"}, window_s=60, lateness_us=0)
    workers = [Worker([summary], worker=number, workers=3) for number in range(3)]
    merger = Merger([summary], workers=3, patience_s=30)
    results = []
    for number, worker in enumerate(workers):
        worker.observe(
            "event", a_table([("a", 1.0, 1)] * 100 + [("b", 1.0, 1)] * (number + 1)), _ordinals(101 + number)
        )
        for message in worker.advance(60 * SECOND_US) if number != 2 else []:
            results += merger.receive(message, 0.0).results
    assert results == merger.tick(1.0).results == merger.tick(30.0).results == []
    [result] = merger.tick(31.0).results
    assert (result.missing, result.complete) == ((2,), False)
    assert {row["host"]: row["n"] for row in result.table.to_pylist()} == {"a": 200, "b": 3}
    for message in workers[2].advance(60 * SECOND_US):
        assert not merger.receive(message, 32.0).results
    assert merger.ignored == 2


def test_b10_early_detection_does_not_wait_for_the_end_of_the_epoch():
    summary = a_summary({"n": "sum"}, "n >= 100", window_s=3600)
    simulation = Simulation([summary], workers=2)
    for second, (worker, value) in enumerate([(0, 50.0), (1, 34.0), (0, 17.0)]):
        simulation.pass_on(simulation.workers[worker].observe("event", a_table([("a", value, second)]), _ordinals(1)))
    [crossing] = simulation.output.crossings
    assert crossing.early
    assert crossing.values == {"n": 101.0}


def test_c_keys_are_bounded_and_the_least_valuable_go():
    summary = a_summary({"n": "count"}, "n >= 1000", max_keys=100)
    many = [(f"host{number}", 1.0, 1) for number in range(1000)]
    busy = [("busy", 1.0, 1)] * 50
    simulation = Simulation([summary]).run(a_table(busy + many), batch=50)
    [result] = simulation.output.results
    assert result.table.num_rows <= 100
    assert result.evicted == 1001 - result.table.num_rows
    assert not result.complete
    assert {row["host"]: row["n"] for row in result.table.to_pylist()}["busy"] == 50


def test_c_a_hot_summary_does_not_starve_another():
    summaries = [a_summary({"n": "count"}, name="hot", max_keys=10), a_summary({"n": "count"}, name="calm")]
    table = a_table([(f"host{number}", 1.0, 1) for number in range(500)])
    by_name = {result.summary: result for result in Simulation(summaries).run(table).output.results}
    assert (by_name["hot"].complete, by_name["calm"].complete) == (False, True)
    assert by_name["calm"].table.num_rows == 500


def test_c_a_sliding_window_sees_what_a_boundary_splits():
    rows = a_table([("a", 1.0, second) for second in range(50, 70)])
    tumbling = a_summary({"n": "count"}, "n >= 20", name="tumbling", window_s=60)
    sliding = a_summary({"n": "count"}, "n >= 20", name="sliding", window_s=60, step_s=10)
    crossings = Simulation([tumbling, sliding]).run(rows).output.crossings
    assert {crossing.summary for crossing in crossings} == {"sliding"}


def test_a_boundary_record_belongs_to_the_later_epoch():
    results = Simulation([a_summary({"n": "count"})]).run(a_table([("a", 1.0, 59.999999), ("a", 1.0, 60)])).results()
    assert sorted((key[1].minute, row["n"]) for key, row in results.items()) == [(0, 1), (1, 1)]


def test_what_comes_too_late_is_counted():
    engine = SingleEngine([a_summary({"n": "count"}, lateness_us=10 * SECOND_US)])
    engine.observe("event", _rows("a", 2, 30), _ordinals(2))
    engine.advance(65 * SECOND_US)
    engine.observe("event", _rows("a", 3, 30), _ordinals(3))
    [result] = engine.advance(75 * SECOND_US).results
    assert result.table.to_pylist() == [{"host": "a", "n": 5}]
    engine.observe("event", _rows("a", 4, 30), _ordinals(4))
    assert engine.status()[0].counts["late"] == 4


def test_empty_epochs_finish_too():
    engine = SingleEngine([a_summary({"n": "count"}, lateness_us=0)])
    engine.observe("event", _rows("a", 1, 30), _ordinals(1))
    results = engine.advance(600 * SECOND_US).results
    assert [(result.table.num_rows, result.epochs) for result in results] == [(1, 1), (0, 9)]


def test_new_keys_only():
    day = 86400
    summary = a_summary(
        {"n": "count"}, "n >= 1", window_s=day, lateness_us=0, new_for_us=3 * day * SECOND_US, learn_us=day * SECOND_US
    )
    engine = SingleEngine([summary])
    told = []
    for number, hosts in enumerate(["a", "ab", "ab", "abc", "c", "c", "c", "a"]):
        table = a_table([(host, 1.0, number * day + 5) for host in hosts])
        told.append("".join(c.key["host"] for c in engine.observe("event", table, _ordinals(len(hosts))).crossings))
        engine.advance((number + 1) * day * SECOND_US)
    assert told == ["", "b", "", "c", "", "", "", "a"]


def test_a_manual_epoch_ends_when_it_is_told():
    engine = SingleEngine([a_summary({"n": "count"}, window_s=0)])
    assert [result.table.num_rows for result in engine.end_epoch("test").results] == [0]
    engine.observe("event", _rows("a", 3, 5), _ordinals(3))
    engine.advance(100 * SECOND_US)
    assert engine.value("test", {"host": "a"})[0]["values"] == {"n": 3}
    assert [result.table.to_pylist() for result in engine.end_epoch("test").results] == [[{"host": "a", "n": 3}]]
    assert engine.value("test", {"host": "a"}) == []
    engine.observe("event", _rows("a", 1, 120), _ordinals(1))
    engine.advance(130 * SECOND_US)
    [last] = engine.finish().results
    assert (last.start.timestamp(), last.end.timestamp()) == (100, 130)


def test_a_result_may_be_called_like_what_is_kept_of_every_key():
    summary = a_summary({"records": "sum", "begin": "max", "end": "count"}, "records >= 5")
    simulation = Simulation([summary]).run(a_table([("a", 2.0, 1), ("a", 4.0, 2)]))
    [crossing] = simulation.output.crossings
    assert (crossing.values, crossing.records) == ({"records": 6.0, "begin": 4.0, "end": 2}, 2)


def test_a_guard_that_holds_wakes_up_for_its_next_level():
    """What a guard that has no further goal was told must not spoil what it is told later."""
    summary = a_summary({"n": "count", "m": "sum"}, "n >= 40 or m >= 1e9")
    simulation = Simulation([summary], workers=4, seed=3)
    for number in range(100):
        simulation.pass_on(simulation.workers[number % 4].observe("event", _rows("a", 1, 1), _ordinals(1, number)))
    assert len(simulation.output.crossings) == 1
    assert all(np.isfinite(watch.sent).all() for watch in _watches(simulation))


def _watches(simulation):
    for worker in simulation.workers:
        for window in worker._windows["test"].values():
            yield from window.watches


def test_a_wrong_clock_among_many_costs_no_more_windows_than_there_are_records():
    """Between 1970 and 2025 there are thirty million minutes."""
    summary = a_summary({"n": "count"}, step_s=20, lateness_us=2**60)
    rows = [("a", 1.0, 30), ("a", 1.0, 1_736_337_600), ("a", 1.0, 1_736_337_601)]
    worker = Worker([summary])
    worker.observe("event", a_table(rows), _ordinals(3))
    found = [
        (each["start"].year, each["values"]["n"])
        for each in Merger([summary]).value(worker.value("test", {"host": "a"}))
    ]
    assert found == [(1969, 1), (1970, 1), (1970, 1), *[(2025, 2)] * 3]
