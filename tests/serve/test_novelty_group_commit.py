"""Requests that wait together are learned together, and answered when they are on disk."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.detectors.novelty.components import columns_of
from tocsin.errors import InputError, StoreError
from tocsin.jobs.contexts import Contexts
from tocsin.serve.group_commit import QUICK_IN_A_ROW, GroupCommit
from tocsin.serve.problems import Problem


@pytest.fixture
def contexts(tmp_path: Path) -> Iterator[Contexts]:
    opened = Contexts.open(tmp_path)
    yield opened
    opened.close()


class Seen:
    """What was told of each turn: context and how many observations."""

    def __init__(self):
        self.turns = []

    def __call__(self, context, scores, rows):
        self.turns.append((context, len(scores)))


def group_of(contexts, **options) -> GroupCommit:
    return GroupCommit(lambda: contexts, **options)


def test_what_waits_together_is_learned_together(contexts):
    seen = Seen()
    group = group_of(contexts, observed=seen)

    async def run():
        return await asyncio.gather(*(group.observe_one(f"c{n % 2}", ["a", str(n // 2)]) for n in range(20)))

    rows = asyncio.run(run())
    assert [row["sequence"] for row in rows] == [n // 2 + 1 for n in range(20)]
    assert [row["observation"] for row in rows] == [("a", str(n // 2)) for n in range(20)]
    assert seen.turns == [("c0", 10), ("c1", 10)]


def test_what_waits_is_done_in_the_order_it_came(contexts):
    group = group_of(contexts)

    async def run():
        return await asyncio.gather(
            group.observe_one("c", ["a"]),
            group.observe("c", columns_of([["a"], ["b"]])),
            group.observe_one("c", ["c"]),
            group.change(lambda: contexts.reset("c")),
            group.observe_one("c", ["d"]),
        )

    first, scores, second, _, third = asyncio.run(run())
    assert (first["sequence"], scores.sequence.tolist(), second["sequence"], third["sequence"]) == (1, [2, 3], 4, 1)


def test_one_that_is_wrong_is_told_alone(contexts):
    group = group_of(contexts)

    async def run():
        observations = (["a"], ["b", "c"], ["d"], [{}])
        return await asyncio.gather(*(group.observe_one("c", each) for each in observations), return_exceptions=True)

    rows = asyncio.run(run())
    assert [type(row) for row in rows] == [dict, InputError, dict, InputError]
    assert contexts.model("c").observed == 2


def test_a_commit_that_fails_fails_all_of_its_turn(contexts, monkeypatch):
    group = group_of(contexts)

    def fail():
        raise StoreError("the disk is gone")

    monkeypatch.setattr(contexts, "commit", fail)

    async def run():
        return await asyncio.gather(
            group.observe_one("c", ["a"]), group.change(lambda: contexts.create("d")), return_exceptions=True
        )

    assert [str(answer) for answer in asyncio.run(run())] == ["the disk is gone"] * 2
    monkeypatch.undo()
    assert asyncio.run(_one(group, ["a"]))["sequence"] == 2


def test_those_that_come_before_the_contexts_are_there_are_told(contexts):
    def not_yet():
        raise Problem(503, detail="not yet")

    group = GroupCommit(not_yet)

    async def run():
        return await asyncio.gather(
            group.observe_one("c", ["a"]), group.observe("c", columns_of([["a"]])), return_exceptions=True
        )

    assert [answer.status_code for answer in asyncio.run(asyncio.wait_for(run(), 5))] == [503, 503]


async def _one(group, observation):
    return await group.observe_one("c", observation)


def test_too_many_that_wait_are_refused(contexts):
    group = group_of(contexts, most_waiting=3)

    async def run():
        waiting = [group.observe_one("c", ["a"]) for _ in range(3)]
        with pytest.raises(Problem) as refused:
            group.observe_one("c", ["a"])
        await asyncio.gather(*waiting)
        return refused.value

    problem = asyncio.run(run())
    assert (problem.status_code, problem.headers["Retry-After"]) == (503, "1")
    assert contexts.model("c").observed == 3


def test_one_that_went_away_before_its_turn_is_not_learned(contexts):
    group = group_of(contexts)

    async def run():
        gone, stays = group.observe_one("c", ["a"]), group.observe_one("c", ["b"])
        gone.cancel()
        return await stays

    assert asyncio.run(run())["sequence"] == 1


def test_closing_finishes_what_waits(contexts):
    group = group_of(contexts)

    async def run():
        waiting = group.observe_one("c", ["a"])
        await group.close()
        with pytest.raises(Problem, match="stopping"):
            group.observe_one("c", ["a"])
        return await waiting

    assert asyncio.run(run())["sequence"] == 1


def test_quick_commits_need_no_thread_until_one_is_slow(contexts, monkeypatch):
    threads, now, commit = [], [0.0], contexts.commit

    def committing():
        threads.append(threading.current_thread() is threading.main_thread())
        now[0] += took[0]
        commit()

    monkeypatch.setattr(contexts, "commit", committing)
    group, took = group_of(contexts, now=lambda: now[0]), [0.0001]

    async def run():
        for number in range(QUICK_IN_A_ROW + 4):
            took[0] = 0.1 if number == QUICK_IN_A_ROW + 1 else 0.0001
            await group.observe_one("c", ["a"])

    asyncio.run(run())
    assert threads == [False] * QUICK_IN_A_ROW + [True] * 2 + [False] * 2
