"""The most novel observations of late."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.rows import as_rows
from tocsin.serve.recent import LONGEST_BYTES, MOST, Recent
from tocsin.testing.clock import FakeClock


def scored(*values: float, text: str = "a"):
    scores = NoveltyModel().observe([pa.array([text] * len(values))])
    return replace(scores, score=np.array(values))


def told(recent: Recent, *given, **options):
    return json.loads(recent.as_json(recent.newest(*given, **options)))["observations"]


@pytest.fixture
def clock():
    return FakeClock()


def test_the_newest_come_first_over_all_contexts(clock):
    recent = Recent(clock)
    recent.add("a", scored(0.95, 0.5, 0.91))
    recent.add("b", scored(0.99))
    recent.add("a", scored(1.0))
    assert [(each["context"], each["result"]["score"]) for each in told(recent)] == [
        *(("a", 1.0), ("b", 0.99), ("a", 0.91), ("a", 0.95))
    ]
    assert [each["result"]["score"] for each in told(recent, "a", least=0.95)] == [1.0, 0.95]
    assert [each["result"]["score"] for each in told(recent, most=1)] == [1.0]
    assert told(recent, "c") == []


def test_rows_that_are_there_are_taken(clock):
    one, other, scores = Recent(clock), Recent(clock), scored(0.95, 0.5, 0.91)
    one.add("a", scores)
    other.add("a", scores, as_rows(scores))
    assert told(one) == told(other)


def test_only_those_since(clock):
    recent = Recent(clock)
    recent.add("a", scored(0.95))
    began = clock.now()
    clock.sleep(10)
    recent.add("a", scored(0.96))
    assert [each["result"]["score"] for each in told(recent, since=began)] == [0.96]
    assert told(recent, since=clock.now() + timedelta(seconds=1)) == []


def test_it_is_bounded(clock, monkeypatch):
    recent = Recent(clock)
    recent.add("many", scored(*[0.95] * (MOST + 5)))
    assert len(told(recent, most=10_000)) == MOST
    recent.add("long", scored(0.95, text="x" * LONGEST_BYTES))
    assert told(recent, "long") == []
    monkeypatch.setattr("tocsin.serve.recent.MOST_BYTES", 100_000)
    for number in range(400):
        recent.add(f"c{number}", scored(0.95))
    assert told(recent, "many") == told(recent, "c0") == []
    assert 100 < len(told(recent, most=1000)) < 300
    assert len(told(recent, "c399")) == 1


def test_what_is_gone_is_not_told(clock):
    recent = Recent(clock)
    for context in ("a", "b"):
        recent.add(context, scored(0.95))
    recent.forget("a")
    assert [each["context"] for each in told(recent)] == ["b"]
    recent.forget()
    assert told(recent) == []
