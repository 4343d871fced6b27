"""Counting and judging against a slow model of dictionaries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.novelty.shape import MARKERS, OTHERS, shape_of
from tocsin.detectors.novelty.tables import Leaves, Tables
from tocsin.kernels.novelty import (
    CLASSES,
    TYPICAL,
    add_counts,
    branching,
    count_class,
    paths,
    place_keys,
    respread,
    tail_share,
    tail_share_of_two,
    walk_down,
)


class Oracle:
    """The equations of `surprise.py`, one dictionary of children a parent."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.total = 0
        self.children: dict = {}

    def places(self, row: tuple) -> list[tuple]:
        """Return parent, child and judged component of each; first of the chain, which judges only where given."""
        chain = [(("chain", row[:at]), row[at], at if self.order == "given" else None) for at in range(len(row))]
        if self.order == "given":
            return chain
        alone = [(("alone", one), row[one], one) for one in range(len(row))]
        pairs = [
            (("pair", other, row[other], one), row[one], one)
            for one in range(len(row))
            for other in range(len(row))
            if other != one
        ]
        return chain + alone + pairs

    def seen(self, row: tuple) -> int:
        return self.children.get(("chain", row[:-1]), {}).get(row[-1], 0)

    def learn(self, row: tuple) -> dict:
        self.count(row, 1)
        return self.said(row)

    def read(self, row: tuple) -> dict:
        if self.seen(row):
            return self.said(row)
        self.count(row, 1)
        said = self.said(row)
        self.count(row, -1)
        return said

    def count(self, row: tuple, by: int) -> None:
        self.total += by
        for parent, child, _ in self.places(row):
            held = self.children.setdefault(parent, {})
            held[child] = held.get(child, 0) + by
            if not held[child]:
                del held[child]

    def said(self, row: tuple) -> dict:
        bits, surprise = [], [0.0] * len(row)
        for parent, child, judged in self.places(row):
            held = self.children[parent]
            above, count = sum(held.values()), held[child]
            if parent[0] == "chain":
                bits.append(math.log2(above / count))
            if judged is not None:
                damped = -3 * math.log2(tail(held, child))
                surprise[judged] = max(surprise[judged], min(math.log2(above / count), damped))
        return {"bits": bits, "surprise": surprise, "seen": self.seen(row), "total": self.total}


def class_of(count: int) -> int:
    return next(k for k in reversed(range(CLASSES)) if count >= lowest(k))


def lowest(k: int) -> int:
    return 2**k if k < 20 else 2**20 * 16 ** (k - 20)


def typical(k: int) -> float:
    return round(4 * max(1.0, math.sqrt(lowest(k) * (lowest(k + 1) - 1)))) / 4


def tail(held: dict, child) -> float:
    """Return the estimated share of the children about as rare as one, or rarer."""
    own = class_of(held[child])
    part = (held[child] - lowest(own)) / (lowest(own + 1) - lowest(own))
    weights = {**dict.fromkeys(range(own + 1), 1.0), own + 1: part}
    classes = [class_of(count) for count in held.values()]
    return sum(typical(k) * weights.get(k, 0.0) for k in classes) / sum(typical(k) for k in classes)


def stream(seed: int, count: int, length: int) -> np.ndarray:
    """Return values from MARKERS + 1 on: some of few values, some of many, heavy-tailed."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([2, 5, 60, 10_000], length)
    values = np.column_stack([rng.zipf(1.5, count) % size for size in sizes])
    return (values + MARKERS + 1 + np.arange(length) * 20_000).astype(np.int32)


def check(judged, said: list[dict]) -> None:
    surprise = np.array([each["surprise"] for each in said])
    summed = surprise.sum(axis=1)
    np.testing.assert_allclose(judged.bits, [each["bits"] for each in said], atol=1e-9)
    np.testing.assert_allclose(judged.sums[:, 0], np.log2(1 + (2**surprise - 1).sum(axis=1)), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(judged.sums[:, 1], summed, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(judged.sums[:, 2], [each["seen"] for each in said])
    np.testing.assert_array_equal(judged.sums[:, 3], [each["total"] for each in said])
    np.testing.assert_allclose(
        judged.share * summed[:, None], np.where(summed[:, None] > 1e-12, surprise, 0), rtol=1e-9, atol=1e-9
    )
    for most, row, each in zip(judged.most, surprise, said, strict=True):
        by = row if row.max() > 1e-12 else np.array(each["bits"])
        assert by[most] >= by.max() - 1e-9


@pytest.mark.parametrize("order", ["given", "auto"])
@pytest.mark.parametrize(("seed", "length"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_learning_and_reading_say_what_the_dictionaries_say(order, seed, length):
    values, asked = stream(seed, 400, length), stream(seed + 100, 200, length)
    oracle, tables = Oracle(order), Tables(shape_of(order, length))
    said = [oracle.learn(tuple(row)) for row in values.tolist()]
    check(tables.learn(values[:150], 1), said[:150])
    check(tables.learn(values[150:], 151), said[150:])

    is_known = np.isin(asked, values)  # a value that was never seen has no number
    check(tables.judge(np.where(is_known, asked, -1)), [oracle.read(tuple(row)) for row in asked.tolist()])


@pytest.mark.parametrize("order", ["given", "auto"])
def test_counts_that_come_and_go_leave_what_was_never_touched(order):
    values = stream(9, 300, 3)
    oracle, tables, last = Oracle(order), Tables(shape_of(order, 3)), np.arange(300, dtype=np.int32)
    for row in values[100:].tolist():
        oracle.count(tuple(row), 1)
    tables.add(Leaves(values, np.ones(300), last))
    tables.add(Leaves(values[:100], -np.ones(100), last[:100]))

    check(tables.judge(values[100:]), [oracle.read(tuple(row)) for row in values[100:].tolist()])
    check(tables.learn(values[:50], 1), [oracle.learn(tuple(row)) for row in values[:50].tolist()])


@given(st.floats(0.5, 2.0**52))
def test_a_count_lies_in_its_class(count):
    k = count_class(float(count))
    assert k == 0 or count >= lowest(k)
    assert k == CLASSES - 1 or count < lowest(k + 1)


@given(st.lists(st.integers(1, 100_000), min_size=2, max_size=30))
def test_the_share_of_a_tail_is_about_that_of_children_as_rare(counts):
    held = dict(enumerate(counts))
    spread = np.bincount([class_of(count) for count in counts], minlength=CLASSES).astype(np.int32)
    found = [tail_share(spread, TYPICAL, float(count), float(sum(counts)), -1, -1) for count in counts]

    np.testing.assert_allclose(found, [tail(held, child) for child in held], rtol=1e-12)
    order = np.argsort(counts)
    assert (np.diff(np.array(found)[order]) >= -1e-9).all()  # never more surprising for having been seen more
    assert found[order[-1]] == 1
    for child, count in held.items():
        least = sum(each for each in counts if class_of(each) <= class_of(count)) / sum(counts)
        most = sum(each for each in counts if class_of(each) <= class_of(count) + 1) / sum(counts)
        assert least / 2.01 <= found[child] <= 2.01 * most


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_of_two_children_the_share_is_the_same(one, other):
    spread = np.bincount([class_of(one), class_of(other)], minlength=CLASSES).astype(np.int32)
    one, other = float(one), float(other)
    assert tail_share_of_two(TYPICAL, one, other) == pytest.approx(
        tail_share(spread, TYPICAL, one, one + other, -1, -1)
    )


def test_keys_hold_parent_and_value():
    keys = np.empty(2, np.uint64)
    place_keys(np.array([0, 7], np.int32), np.array([33, 2**31 - 1], np.int32), keys)
    assert keys.tolist() == [33, (7 << 32) | (2**31 - 1)]


def tree() -> tuple[np.ndarray, np.ndarray]:
    """Return keys and entries: root -> 40 (two children), 41 (one child); marker 1 -> 40; root -> others."""
    places = [(0, 40), (1, 50), (1, 51), (0, 41), (4, 50), (0, 1), (6, 40), (0, OTHERS)]
    keys = np.array([2**64 - 1, *((above << 32) | value for above, value in places)], np.uint64)
    entries = np.zeros((len(keys), 2))
    entries[:, 0] = [9, 3, 2, 1, 1, 1, 5, 5, 5]
    return keys, entries


def test_spreads_are_made_of_the_counts():
    keys, entries = tree()
    children, spreads = np.zeros(len(keys), np.uint8), np.ones((4, CLASSES), np.int32)
    assert branching(keys, entries, OTHERS, children) == 2
    assert children.tolist() == [2, 2, 0, 0, 1, 0, 1, 0, 0]
    meta = entries.view(np.int32)
    assert respread(keys, entries, meta, children, spreads, OTHERS) == 3

    root, first = spreads[meta[0, 2]], spreads[meta[1, 2]]
    assert root.tolist() == [5 + 1, 1, 1] + [0] * (CLASSES - 3)  # what was folded was seen once each
    assert first.tolist() == [1, 1] + [0] * (CLASSES - 2)
    assert meta[2:, 2].sum() == 0


def test_one_knows_whole_observations_from_their_beginnings():
    keys, _ = tree()
    depth, hashed, again = np.empty(9, np.uint8), np.empty(9, np.uint64), np.empty(9, np.uint64)
    with np.errstate(over="ignore"):
        walk_down(keys, MARKERS, np.arange(1, 101, dtype=np.uint64) * np.uint64(77), depth, hashed)
        walk_down(keys, MARKERS, np.zeros(0, np.uint64), depth, again)
    assert depth.tolist() == [0, 1, 2, 2, 1, 2, 128, 129, 1]
    assert len(set(hashed.tolist())) == 9
    values = np.empty((3, 2), np.int32)
    paths(keys, np.array([2, 3, 5], np.int32), values)
    assert values.tolist() == [[40, 50], [40, 51], [41, 50]]


def test_what_rounding_leaves_is_nothing():
    counts = np.zeros((2, 2))
    meta, slots = counts.view(np.int32), np.ones((1, 2), np.int32)
    add_counts(slots, np.array([0.3, -0.3 + 1e-12]), counts, meta, np.array([1, 2], np.int32))
    assert counts[:, 0].tolist() == [0.0, 0.0]
