"""Random operations, then a crash that cuts the journal behind what was acknowledged: a start finds a prefix."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.portable import dump, load
from tocsin.errors import InputError, NotFoundError
from tocsin.jobs.contexts import Contexts
from tocsin.jobs.replay import Load
from tocsin.jobs.segment import HEAD_BYTES
from tocsin.records.times import to_us
from tocsin.testing.clock import FakeClock
from tocsin.testing.observations import observations

NAMES = st.sampled_from(["a", "A", "b"])
PATTERNS = st.sampled_from(
    [("tcp", None, None), (None, "443", None), ("udp", "53", "dns"), ("tcp",), (None, None, None)]
)
OPERATIONS = st.one_of(
    st.tuples(st.just("observe"), NAMES, st.integers(0, 300), st.integers(0, 40)),
    st.tuples(st.just("observe"), NAMES, st.integers(0, 300), st.just(1)),
    st.tuples(st.just("forget"), NAMES, PATTERNS),
    st.tuples(st.just("feedback"), NAMES, PATTERNS, st.sampled_from(["x", "y"])),
    st.tuples(st.just("undo"), NAMES, st.sampled_from(["x", "y"])),
    st.tuples(st.just("merge"), NAMES, st.integers(1, 30)),
    st.tuples(st.just("import_"), NAMES, st.integers(1, 30)),
    st.tuples(st.just("reset"), NAMES),
    st.tuples(st.just("delete"), NAMES),
)
STEPS = st.one_of(OPERATIONS, OPERATIONS, OPERATIONS, st.tuples(st.sampled_from(["checkpoint", "restart"])))


def model_of(rows: int) -> NoveltyModel:
    model = NoveltyModel(Options(warm_up=rows))
    model.observe(observations(1000, 1000 + rows), 0)
    return model


class Plain:
    """What contexts should come to: models in a dictionary."""

    def __init__(self) -> None:
        self.models: dict[str, NoveltyModel] = {}

    def do(self, what: str, name: str, *rest: Any, at_us: int) -> None:
        if what == "observe":
            start, count = rest
            model = self.models.setdefault(name, NoveltyModel())
            model.observe(observations(start, start + count), at_us)
        elif what == "import_":
            self.models[name] = load(dump(model_of(*rest)))
        elif name not in self.models:
            raise NotFoundError(name)
        elif what == "reset":
            self.models[name] = NoveltyModel(self.models[name].options)
        elif what == "delete":
            del self.models[name]
        elif what == "merge":
            self.models[name].merge(model_of(*rest))
        elif what == "feedback":
            self.models[name].feedback(rest[0], id=rest[1], at_us=at_us)
        else:
            getattr(self.models[name], what)(*rest)


def do(contexts: Contexts, what: str, name: str, *rest: Any) -> None:
    if what == "observe":
        contexts.observe(name, observations(rest[0], rest[0] + rest[1]))
    elif what == "import_":
        contexts.import_(name, dump(model_of(*rest)), replace=True)
    elif what == "merge":
        contexts.merge(name, model_of(*rest))
    elif what == "feedback":
        contexts.feedback(name, rest[0], id=rest[1])
    else:
        getattr(contexts, what)(name, *rest)


def refusal(do: Any) -> str:
    """Do it, and return which error came of it."""
    try:
        do()
    except (InputError, NotFoundError) as error:
        return type(error).__name__
    return ""


def seen(models: dict[str, NoveltyModel]) -> list[Any]:
    """Everything that can be asked of models, to be compared."""
    probe = observations(2000, 2010)
    told = []
    for name, model in sorted(models.items()):
        scores = model.score(probe) if model.length in (0, 3) else None
        numbers = [scores.score.tolist(), scores.bits.tolist(), scores.confidence.tolist()] if scores else []
        told.append((name, model.observed, model.length, list(model.feedbacks), model.options.as_dict(), numbers))
    return told


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=12), st.sampled_from(["full", "fast"]), st.data())
def test_a_crash_anywhere_leaves_a_prefix_with_all_that_was_acknowledged(tmp_path_factory, steps, durability, data):
    folder = tmp_path_factory.mktemp("crash") / "novelty"
    clock, after = FakeClock(), Load(observations=120, frames=10, nbytes=1 << 20)

    def opened(place: Path) -> Contexts:
        return Contexts.open(place, clock=clock, durability=durability, checkpoint_after=after)

    contexts, plain = opened(folder), Plain()
    acknowledged = data.draw(st.integers(0, len(steps)), label="acknowledged")
    heads: dict[str, bytes] = {}
    found = []
    for number, (what, *rest) in enumerate(steps):
        if number == acknowledged:
            heads = _committed(contexts, folder)
        found.append(seen(plain.models))
        clock.advance(1)
        if what == "checkpoint":
            contexts.checkpoint(wait=True)
        elif what == "restart":
            contexts.close()
            contexts = opened(folder)
        else:
            mine = refusal(partial(plain.do, what, *rest, at_us=to_us(clock.now())))
            assert refusal(partial(do, contexts, what, *rest)) == mine
    found.append(seen(plain.models))
    if acknowledged == len(steps):
        heads = _committed(contexts, folder)
    contexts.commit()
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    contexts.close()
    _cut(copy, heads, data)
    for _ in range(2):  # the second start finds what the first one left
        again = opened(copy)
        state = seen({name: again.model(name) for name in again.names()})
        assert state in found[acknowledged:]
        again.close()
    shutil.rmtree(folder.parent)


def _committed(contexts: Contexts, folder: Path) -> dict[str, bytes]:
    """Commit, and return every segment's head and bytes of frames as they are then."""
    contexts.commit()
    return {path.name: path.read_bytes().rstrip(b"\0") for path in folder.glob("journal-*.log")}


def _cut(folder: Path, before: dict[str, bytes], data: st.DataObject) -> None:
    """Make the last segment what a kill might have left of it since then."""
    path = max(folder.glob("journal-*.log"))
    whole = path.read_bytes().rstrip(b"\0")
    past = before.get(path.name, b"").ljust(HEAD_BYTES, b"\0")
    least = max(len(past), HEAD_BYTES)
    if len(whole) <= least:
        return
    cut = data.draw(st.integers(least, len(whole)), label="cut")
    head = past[:HEAD_BYTES] if path.name in before else whole[:32] + bytes(32)
    path.write_bytes(head + whole[HEAD_BYTES:cut])
    os.truncate(path, cut + data.draw(st.sampled_from([0, 1000]), label="room"))
