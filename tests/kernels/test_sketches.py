"""Sketches in a pool against sets of codes and plain registers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.compiler import COMPILED
from tocsin.kernels.hll import encode, improved_raw, linear_count, register_of, weight
from tocsin.kernels.sketches import (
    add_codes,
    add_registers,
    copy_codes,
    copy_registers,
    estimates,
    forms,
    roomier,
    sketches,
)

SLOTS = 3
EVERY = np.arange(SLOTS, dtype=np.int32)


def fill(state, slots, codes, out=None):
    slots, codes, row = np.array(slots, np.int32), np.array(codes, np.uint32), 0
    out = np.empty(0) if out is None else out
    while (row := add_codes(state, slots, codes, row, out)) < len(slots):
        state = roomier(state)
    return state


def held(state):
    """Per slot the set of codes, or the tuple of registers."""
    lengths, dense = forms(state, EVERY)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    codes = copy_codes(state, EVERY, offsets)
    registers = iter(copy_registers(state, EVERY[dense]).tolist())
    return [
        tuple(next(registers)) if dense[slot] else codes[offsets[slot] : offsets[slot + 1]].tolist()
        for slot in range(SLOTS)
    ]


def sparse_room(precision):
    cells = 2**precision // 4
    return cells if cells <= 16 else cells // 4 * 3


def oracle(slots, codes, precision):
    made = []
    for slot in range(SLOTS):
        best = {}
        for code in sorted(code for at, code in zip(slots, codes, strict=True) if at == slot and code):
            best[code >> 6] = code
        if len(best) <= sparse_room(precision):
            made.append(sorted(best.values()))
        else:
            registers = [0] * 2**precision
            for code in best.values():
                register, rank = register_of(code, precision)
                registers[register] = max(registers[register], rank)
            made.append(tuple(registers))
    return made


def estimate(sketch, precision):
    if isinstance(sketch, list):
        return linear_count(len(sketch))
    least = linear_count(sparse_room(precision) + 1)
    return max(least, improved_raw(2**precision, sketch.count(0), sum(weight(rank) for rank in sketch)))


codes = st.builds(
    lambda index, rank: index << 6 | rank, st.integers(0, 2**26 - 1) | st.integers(0, 30), st.integers(1, 39)
)
rows = st.lists(st.tuples(st.integers(0, SLOTS - 1), codes | st.just(0)), max_size=200)


@given(rows, st.integers(4, 8))
def test_a_sketch_is_what_its_codes_say(rows, precision):
    slots, given_codes = [row[0] for row in rows], [row[1] for row in rows]
    state = fill(sketches(SLOTS, precision), slots, given_codes)
    expected = oracle(slots, given_codes, precision)
    assert held(state) == expected
    assert estimates(state, EVERY).tolist() == [estimate(each, precision) for each in expected]
    assert held(roomier(state)) == expected


@given(rows, st.integers(4, 6), st.randoms())
def test_order_changes_nothing(rows, precision, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (
        fill(sketches(SLOTS, precision), [row[0] for row in some], [row[1] for row in some])
        for some in (rows, shuffled)
    )
    assert held(one) == held(other)


@given(rows, st.integers(4, 6))
def test_estimates_after_each_row_never_fall(rows, precision):
    out, seen = np.empty(len(rows)), dict.fromkeys(range(SLOTS), 0.0)
    slots, given_codes = [row[0] for row in rows], [row[1] for row in rows]
    state = fill(sketches(SLOTS, precision), slots, given_codes, out)
    for slot, value in zip(slots, out.tolist(), strict=True):
        assert value >= seen[slot]
        seen[slot] = value
    assert estimates(state, EVERY).tolist() == list(seen.values())


@given(rows, rows, st.integers(4, 6))
def test_dense_sketches_merge_into_any(mine, theirs, precision):
    state = fill(sketches(SLOTS, precision), [row[0] for row in mine], [row[1] for row in mine])
    other = fill(sketches(SLOTS, precision), [row[0] for row in theirs], [row[1] for row in theirs])
    dense = EVERY[forms(other, EVERY)[1]]
    registers, row = copy_registers(other, dense), 0
    while (row := add_registers(state, dense, registers, row)) < len(dense):
        state = roomier(state)
    sparse = [row for row in theirs if row[0] not in dense]
    state = fill(state, [row[0] for row in sparse], [row[1] for row in sparse])
    both = mine + theirs
    assert held(state) == oracle([row[0] for row in both], [row[1] for row in both], precision)


def test_chunks_that_are_given_back_are_used_again():
    state, once = sketches(SLOTS, 11), sketches(SLOTS, 11)
    codes = [(number << 6) | 1 for number in range(200)]
    once = fill(once, [0] * 200, codes)
    for slot in range(SLOTS):
        state = fill(state, [slot] * 200, codes)
    assert state.cells.nbytes < SLOTS * once.cells.nbytes
    assert estimates(state, EVERY).tolist() == [200.0] * SLOTS


def test_a_pool_full_of_gaps_is_packed():
    state, every = sketches(1000, 11), np.arange(1000, dtype=np.int32)
    for number in range(16):
        state = fill(state, every, np.full(1000, (number << 6) | 1))
    assert state.cells.nbytes < 1000 * 64 * 1.6
    assert (estimates(state, every) == 16).all()


@pytest.mark.skipif(not COMPILED, reason="takes minutes without the compiler")
@pytest.mark.parametrize(
    ("precision", "values"), [(4, 1000), (9, 100), (9, 20_000), (11, 1500), (11, 50_000), (16, 300_000)]
)
def test_the_error_is_as_stated(precision, values):
    random, trials = np.random.default_rng(precision * values), 60 if precision < 16 else 10
    errors = []
    for _ in range(trials):
        state = fill(sketches(1, precision), np.zeros(values), encode(random.integers(0, 2**64 - 1, values, np.uint64)))
        errors.append(estimates(state, EVERY[:1])[0] / values - 1)
    expected = 1.04 / 2 ** (precision / 2)
    # Of a sample of normal errors: its root mean square stays within four of its own standard errors.
    assert np.sqrt(np.mean(np.square(errors))) < expected * (1 + 4 / np.sqrt(2 * trials))
    assert abs(np.mean(errors)) < 4 * expected / np.sqrt(trials)
