"""HyperLogLog's arithmetic against the definitions, bit by bit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.hll import encode, improved_raw, linear_count, register_of, weight
from tocsin.kernels.strings import NULL_HASH

hashes = st.one_of(
    st.integers(0, 2**64 - 1),
    st.builds(
        lambda high, shift: (high << 38) | (1 << 38 >> shift) % (1 << 38), st.integers(0, 2**26 - 1), st.integers(0, 39)
    ),
)


def first_one(bits):
    """The place of the first 1 in a string of bits, from 1; one past the end if there is none."""
    return bits.index("1") + 1 if "1" in bits else len(bits) + 1


@given(st.lists(hashes))
def test_codes_hold_26_bits_and_the_rank_of_the_others(given_hashes):
    bits = [f"{h:064b}" for h in given_hashes]
    expected = [int(each[:26], 2) * 64 + first_one(each[26:]) for each in bits]
    assert encode(np.array(given_hashes, np.uint64)).tolist() == expected


def test_null_has_no_code():
    assert encode(np.array([NULL_HASH], np.uint64)).tolist() == [0]


@given(hashes, st.integers(4, 22))
def test_a_code_tells_the_register_that_its_hash_belongs_to(h, precision):
    code = int(encode(np.array([h], np.uint64))[0])
    bits = f"{h:064b}"
    assert register_of(code, precision) == (int(bits[:precision], 2), first_one(bits[precision:]))


def plain_estimate(registers, q):
    """Ertl's algorithm 6 with both corrections, in the order of the paper."""
    m = len(registers)
    count = [registers.count(k) for k in range(q + 2)]
    z = m * tau(1 - count[q + 1] / m)
    for k in range(q, 0, -1):
        z = (z + count[k]) / 2
    z += m * sigma(count[0] / m)
    return m * m / (2 * math.log(2)) / z


def sigma(x):
    return math.inf if x == 1 else x + sum(x ** (2**k) * 2.0 ** (k - 1) for k in range(1, 60) if x ** (2**k) > 0)


def tau(x):
    if x in (0, 1):
        return 0.0
    return (1 - x - sum((1 - x**2.0**-k) ** 2 * 2.0**-k for k in range(1, 60))) / 3


@given(st.lists(st.integers(0, 45), min_size=16, max_size=16))
def test_the_improved_raw_estimate(registers):
    weights = sum(weight(rank) for rank in registers)
    expected = plain_estimate(registers, 60)
    if any(registers):
        assert improved_raw(16, registers.count(0), weights) == pytest.approx(expected, rel=1e-4, abs=1)


@given(st.lists(st.integers(0, 20), min_size=16, max_size=16), st.integers(0, 15), st.integers(1, 20))
def test_the_improved_raw_estimate_never_falls(registers, at, rank):
    before = improved_raw(16, registers.count(0), sum(weight(each) for each in registers)) if any(registers) else 0
    registers[at] = max(registers[at], rank)
    assert improved_raw(16, registers.count(0), sum(weight(each) for each in registers)) >= before


def test_linear_counting():
    assert [linear_count(codes) for codes in (0, 1, 10, 5000)] == [0, 1, 10, 5000]
    assert linear_count(100_000) == round(-(2**26) * math.log(1 - 100_000 / 2**26)) > 100_000
