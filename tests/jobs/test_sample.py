"""Sampling: seeded, per day and protocol, once, and again when late files come."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.app import App
from tocsin.jobs.lake import read_parquet
from tocsin.jobs.sample import ProtocolSample, clear_samples, sample_days, sample_path, sampled
from tocsin.jobs.work import ELSEWHERE, Work

DAY = date(2025, 1, 6)


def ids_of(work: Work, day: date = DAY, proto: str = "tcp") -> set[str]:
    return set(read_parquet(work.store, sample_path(work.domain, proto, day), ["flowid"]).column(0).to_pylist())


def test_keeps_about_its_share_and_the_same_rows_every_time(work: Work, fill: Callable[..., None]) -> None:
    fill(4000)
    sample_days(work)
    first = ids_of(work)
    assert 1800 < len(first) < 2200
    sample_days(work, dates=[DAY])
    assert ids_of(work) == first


def test_sampled_days_are_not_sampled_again(work: Work, fill: Callable[..., None]) -> None:
    fill(100)
    assert sample_days(work).days == [DAY]
    assert sample_days(work).days == []


def test_late_file_is_noticed_and_only_adds_rows(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    sample_days(work)
    before = ids_of(work)
    fill(1000, name="late", seed=1)
    assert sample_days(work).days == [DAY]
    assert before < ids_of(work)


def test_retention_rolls_and_counts_from_the_newest_day_of_the_lake(work: Work, fill: Callable[..., None]) -> None:
    for back in range(9):
        fill(50, DAY - timedelta(days=back))
    sample_days(work)
    assert len(sampled(work.store, work.domain)) == 7
    fill(50, DAY + timedelta(days=1))
    done = sample_days(work)
    assert done.days == [DAY + timedelta(days=1)]
    assert min(sampled(work.store, work.domain)) == DAY - timedelta(days=5)
    assert len(work.store.list(f"{work.domain}/sample/tcp/")) == 7


def test_today_can_be_left_for_tomorrow(work: Work, fill: Callable[..., None]) -> None:
    fill(50)
    fill(50, DAY + timedelta(days=1))
    assert sample_days(work, before=DAY + timedelta(days=1)).days == [DAY]


def test_protocols_have_files_and_state_of_their_own(app: App, fill: Callable[..., None]) -> None:
    fill(200, proto="tcp", name="a")
    fill(200, proto="udp", name="b")
    sample_days(app.work(["tcp"]))
    assert list(sampled(app.store, app.domain)[DAY]) == ["tcp"]
    sample_days(app.work(["udp"]))
    assert sorted(sampled(app.store, app.domain)[DAY]) == ["tcp", "udp"]
    clear_samples(app.work(["tcp"]))
    assert list(sampled(app.store, app.domain)[DAY]) == ["udp"]


def test_clear_makes_every_day_due_again(work: Work, fill: Callable[..., None]) -> None:
    fill(100)
    sample_days(work)
    clear_samples(work)
    assert sampled(work.store, work.domain) == {DAY: {}} or sampled(work.store, work.domain) == {}
    assert sample_days(work).days == [DAY]


def test_claimed_day_is_left_to_its_owner(app: App, fill: Callable[..., None]) -> None:
    from tocsin.jobs.claims import claim

    fill(100)
    work = app.work()
    path = f"{work.domain}/claims/sample-{DAY}-all.json"
    with claim(work.store, path, owner="other:1", clock=work.clock, expiry_s=60) as held:
        assert held is not None
        assert sample_days(work).counts[ELSEWHERE] == 1
    assert sample_days(work).days == [DAY]


def test_stop_begins_no_further_day(work: Work, fill: Callable[..., None]) -> None:
    fill(100)
    work.stop.set()
    assert sample_days(work).days == []


@pytest.mark.parametrize(("rows", "least"), [(300, 300), (3000, 900)])
def test_small_days_are_sampled_more_fully(rows: int, least: int) -> None:
    sample = ProtocolSample(DAY, "tcp", percent=10, small_day_rows=1000)
    sample.add(pa.table({"flowid": [f"f{i}" for i in range(rows)]}), np.zeros(rows, bool))
    assert sample.result().num_rows >= least


@given(cuts=st.lists(st.integers(0, 3000), max_size=5), order=st.randoms(use_true_random=False))
def test_neither_batches_nor_their_order_change_the_sample(cuts: list[int], order: object) -> None:
    table = pa.table({"flowid": [f"f{i}" for i in range(3000)]})
    outside = np.arange(3000) % 7 == 0
    edges = [0, *sorted(cuts), 3000]
    pieces = [(table.slice(a, b - a), outside[a:b]) for a, b in pairwise(edges)]
    order.shuffle(pieces)  # type: ignore[attr-defined]

    def ids(parts: list[tuple[pa.Table, np.ndarray]]) -> set[str]:
        sample = ProtocolSample(DAY, "tcp", percent=10, small_day_rows=100)
        for part, out in parts:
            sample.add(part, out)
        return set(sample.result().column("flowid").to_pylist())

    assert ids(pieces) == ids([(table, outside)])
