"""The most frequent values: golden cases, exactness while there is room, the bound when there is none."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.counters import Counters, joined, largest
from tocsin.detectors.summary.definition import Reducer
from tocsin.kernels.strings import hash_strings


def _made(size, shown=1_000, slots=1):
    (accumulator,) = accumulators([Reducer("it", "topk", options={"size": size, "shown": shown})])
    accumulator.grow(slots)
    return accumulator


def _add(topk, texts, first=0, slots=None):
    text = pa.array(texts, pa.string())
    ordinals = np.arange(first, first + len(texts), dtype=np.uint64) if np.isscalar(first) else np.array(first)
    slots = np.zeros(len(texts), np.int32) if slots is None else np.array(slots, np.int32)
    topk.add(slots, Values(ordinals.astype(np.int64), ordinals, text=text, hash=hash_strings(text)))


def _results(topk, slots=1):
    results = topk.results(np.arange(slots, dtype=np.int32))["it"].to_pylist()
    return [None if each is None else [tuple(entry.values()) for entry in each] for each in results]


def _total(topk, slot=0):
    return topk.partial(np.array([slot], np.int32))["total"].to_pylist()[0]


def _merged(size, partials, slots=1):
    merged, every = _made(size, slots=slots), np.arange(slots, dtype=np.int32)
    for part in partials:
        merged.merge(every, part.partial(every))
    return merged


def test_g13_top_k():
    topk = _made(500, shown=5, slots=2)
    counter = [str(value) for value in range(1, 100) for _ in range(100 - value)]
    _add(topk, [*counter, "1", "1"], slots=[0] * len(counter) + [1, 1])
    assert _results(topk, 2) == [
        [("1", 99, 0), ("2", 98, 0), ("3", 97, 0), ("4", 96, 0), ("5", 95, 0)],
        [("1", 2, 0)],
    ]


def test_d07_space_saving():
    topk = _made(2)
    steps = [
        ("abbc", [("b", 2, 0), ("c", 2, 1)]),
        ("d", [("d", 3, 2), ("c", 2, 1)]),
        ("e", [("d", 3, 2), ("e", 3, 2)]),
        ("f", [("f", 4, 3), ("e", 3, 2)]),
        ("e", [("f", 4, 3), ("e", 4, 2)]),
        ("g", [("g", 5, 4), ("e", 4, 2)]),
    ]
    seen = 0
    for texts, expected in steps:
        _add(topk, list(texts), seen)
        seen += len(texts)
        assert _results(topk) == [expected]
        assert _total(topk) == seen


def test_d07_merge():
    part = _made(100)
    _add(part, list("abbccccccddddeeeeef"))
    once, twice = _merged(100, [part]), _merged(100, [part, part])
    assert (_total(once), _results(once)[0][:3]) == (19, [("c", 6, 0), ("e", 5, 0), ("d", 4, 0)])
    assert (_total(twice), _results(twice)[0][:3]) == (38, [("c", 12, 0), ("e", 10, 0), ("d", 8, 0)])


def test_no_values_and_null_values_are_no_result():
    topk = _made(5, slots=2)
    _add(topk, [None, None])
    assert _results(topk, 2) == [None, None]
    assert _total(topk) == 0
    fields = [("value", pa.string()), ("count", pa.int64()), ("error", pa.int64())]
    assert topk.result_types() == {"it": pa.list_(pa.struct(fields))}


def test_a_merge_with_nothing_changes_nothing():
    part = _made(3)
    _add(part, list("abbcdeadd"))
    for order in ([part, _made(3)], [_made(3), part]):
        assert _results(_merged(3, order)) == _results(part)
    mid = _merged(3, [part])
    _add(part, list("xyzzya"), 9)
    _add(mid, list("xyzzya"), 9)
    assert _results(mid) == _results(part)


values = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdefgh")), max_size=80)


@given(rows=values, batch=st.integers(1, 20), random=st.randoms(use_true_random=False))
def test_all_is_exact_while_there_is_room(rows, batch, random):
    whole = _made(8, slots=3)
    _add(whole, [text for _, text in rows], slots=[slot for slot, _ in rows])
    numbered = [(*row, ordinal) for ordinal, row in enumerate(rows)]
    random.shuffle(numbered)
    workers = [_made(8, slots=3) for _ in range(3)]
    for worker, topk in enumerate(workers):
        its = [row for row in numbered if row[2] % 3 == worker]
        for part in (its[start : start + batch] for start in range(0, len(its), batch)):
            _add(topk, [r[1] for r in part], np.array([r[2] for r in part], np.uint64), slots=[r[0] for r in part])
    merged = _merged(8, random.sample(workers, 3), slots=3)
    assert _results(merged, 3) == _results(whole, 3)
    for slot, result in enumerate(_results(merged, 3)):
        assert {value: count for value, count, _ in result or []} == Counter(text for s, text in rows if s == slot)


@given(
    rows=st.lists(st.sampled_from("abcdefghijklmnop"), max_size=120),
    size=st.integers(1, 6),
    workers=st.integers(1, 5),
    random=st.randoms(use_true_random=False),
)
def test_the_bound_holds_when_there_is_no_room(rows, size, workers, random):
    share = [random.randrange(workers) for _ in rows]
    parts = []
    for worker in range(workers):
        part = _made(size)
        _add(part, [text for text, whose in zip(rows, share, strict=True) if whose == worker])
        parts.append(part)
    while len(parts) > 1:
        one, other = (parts.pop(random.randrange(len(parts))) for _ in range(2))
        parts.append(_merged(size, [one, other]))
    held, true = {value: (count, error) for value, count, error in _results(parts[0])[0] or []}, Counter(rows)
    assert _total(parts[0]) == len(rows)
    assert len(held) == min(size, len(true))
    for value, (count, error) in held.items():
        assert count - error <= true[value] <= count
        assert error * size <= len(rows)
    least = min((count for count, _ in held.values()), default=0)
    assert all(true[value] <= least for value in true if value not in held)
    assert least * size <= len(rows) or len(held) < size


sketches = st.lists(st.dictionaries(st.integers(0, 5), st.integers(1, 9), max_size=4), min_size=1, max_size=4)


def _counters(sketches):
    starts = np.cumsum([0, *map(len, sketches)])
    keys, counts = (np.array([each[i] for held in sketches for each in held.items()], np.int64) for i in range(2))
    return Counters(starts, keys.astype(np.uint64), counts, counts // 2, (keys * 10 + counts).astype(np.uint64))


@given(sketches, st.data())
def test_joining_agrees_with_dictionaries(ones, data):
    others = data.draw(
        st.lists(
            st.dictionaries(st.integers(0, 5), st.integers(1, 9), max_size=4), min_size=len(ones), max_size=len(ones)
        )
    )
    both = joined(_counters(ones), _counters(others), 4)
    cut = largest(both, 3)
    for i, (one, other) in enumerate(zip(ones, others, strict=True)):
        floors = [min(held.values()) if len(held) == 4 else 0 for held in (one, other)]
        expected = {key: one.get(key, floors[0]) + other.get(key, floors[1]) for key in one | other}
        its = slice(both.starts[i], both.starts[i + 1])
        assert dict(zip(both.keys[its].tolist(), both.counts[its].tolist(), strict=True)) == expected
        top = cut.counts[cut.starts[i] : cut.starts[i + 1]].tolist()
        assert top == sorted(expected.values(), reverse=True)[:3]


def test_memory_follows_what_is_held():
    topk = _made(500, slots=1_000)
    _add(topk, [f"value {slot}" for slot in range(1_000)], slots=range(1_000))
    assert topk.nbytes / 1_000 < 400


def test_texts_of_dropped_values_go():
    topk = _made(10)
    for start in range(0, 20_000, 1_000):
        _add(topk, [f"a long value, number {at}" for at in range(start, start + 1_000)], start)
    assert topk.nbytes < 600_000
    assert all(value.startswith("a long value") for value, _, _ in _results(topk)[0])
