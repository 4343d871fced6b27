"""Killed at any moment, contexts have everything that was acknowledged, and every score is the same."""

import multiprocessing
import random
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.jobs.contexts import Contexts
from tocsin.jobs.replay import Load
from tocsin.testing.observations import observations, same_scores

KILLS = 30
NAMES = ("bulk", "single", "rare")


def step(model: NoveltyModel, name: str) -> tuple[int, int]:
    """Return the rows that come next; they follow from what was observed alone."""
    begun = model.observed
    return begun, begun + (1 if name == "single" else 1 + begun * 7919 % 60)


def pattern_due(model: NoveltyModel) -> str:
    """Return the id of a feedback that is due before the next observation, if one is."""
    due = f"at {model.observed}"
    return due if model.observed % 5 == 3 and due not in model.feedbacks else ""


def work(folder: str, told: Connection) -> None:
    """Observe on and on, and tell what is acknowledged."""
    contexts = Contexts.open(Path(folder), checkpoint_after=Load(observations=700, frames=60, nbytes=1 << 20))
    told.send([contexts.model(name).observed if name in contexts.names() else 0 for name in NAMES])
    turn = 0
    while True:
        turn += 1
        name = NAMES[0] if turn % 3 else NAMES[1 + turn // 3 % 2]
        model = contexts.model(name) if name in contexts.names() else NoveltyModel()
        if due := pattern_due(model):
            contexts.feedback(name, [None, "443", None], 0.1, id=due)
        start, stop = step(model, name)
        contexts.observe(name, observations(start, stop), key=f"{start}")
        contexts.commit()
        told.send((name, stop))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_any_kill_loses_nothing_acknowledged_and_changes_no_score(tmp_path: Path) -> None:
    rng = random.Random(2026)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tocsin.jobs.contexts", "tocsin.testing.observations"])
    acknowledged = dict.fromkeys(NAMES, 0)
    for _ in range(KILLS):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(str(tmp_path / "novelty"), there))
        process.start()
        there.close()
        found = here.recv()
        assert all(mine >= acknowledged[name] for mine, name in zip(found, NAMES, strict=True))
        here.poll(rng.choice([0.05, 10]))  # a few are killed before they have acknowledged anything
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.join()
        with suppress(EOFError):
            while True:
                name, observed = here.recv()
                acknowledged[name] = observed
    assert min(acknowledged.values()) > 0
    _equal_to_undisturbed(tmp_path / "novelty", acknowledged)


def _equal_to_undisturbed(folder: Path, acknowledged: dict[str, int]) -> None:
    contexts = Contexts.open(folder)
    for name in NAMES:
        survived = contexts.model(name)
        assert survived.observed >= acknowledged[name]
        calm = NoveltyModel()
        while calm.observed < survived.observed:
            if due := pattern_due(calm):
                calm.feedback([None, "443", None], 0.1, id=due, at_us=0)
            start, stop = step(calm, name)
            last = calm.observe(observations(start, stop), 0)
        assert same_scores(contexts.observe(name, last.columns, key=str(stop - len(last))), last)
        if (due := pattern_due(calm)) in survived.feedbacks:
            calm.feedback([None, "443", None], 0.1, id=due, at_us=0)
        assert list(survived.feedbacks) == list(calm.feedbacks)
        probe = observations(10**6, 10**6 + 200)
        assert same_scores(contexts.read(name, probe), calm.score(probe))
        assert same_scores(contexts.observe(name, probe), calm.observe(probe, 0))
    contexts.close()
