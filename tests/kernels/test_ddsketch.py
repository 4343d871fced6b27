"""DDSketch's buckets: order, error, and what is clamped."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.ddsketch import LEAST, MOST, buckets, quantiles
from tocsin.kernels.entries import NO_ID

numbers = st.floats(allow_nan=False, allow_infinity=False)
errors = st.sampled_from([0.0005, 0.01, 0.1, 0.5])


def middle(number, error):
    """What a number's bucket stands for."""
    ids = buckets(np.array([number]), error)
    return float(quantiles(np.array([0, 1]), ids, np.array([1]), 0.5, error)[0])


@given(numbers, errors)
def test_a_bucket_stands_for_its_numbers(number, error):
    clamped = math.copysign(min(abs(number), MOST), number) if abs(number) >= LEAST else 0.0
    assert middle(number, error) == pytest.approx(clamped, rel=error * (1 + 1e-9) + 1e-12, abs=0)


@given(numbers, numbers, errors)
def test_ids_are_in_the_order_of_numbers(one, other, error):
    low, high = sorted([one, other])
    ids = buckets(np.array([low, high]), error)
    assert ids[0] <= ids[1]
    assert buckets(np.array([-low, -high]), error)[0] >= buckets(np.array([-low, -high]), error)[1]


def test_what_is_no_number_has_no_bucket():
    assert buckets(np.array([math.nan, math.inf, -math.inf]), 0.01).tolist() == [NO_ID] * 3


@pytest.mark.parametrize("error", [0.0005, 0.01, 0.5])
def test_the_number_of_buckets_is_bounded(error):
    least, most = buckets(np.array([-1e300, 1e300]), error).tolist()
    assert most - least + 1 <= 124.34 / math.log((1 + error) / (1 - error)) + 5


def test_ranks():
    ids, counts = buckets(np.array([1.0, 2.0, 3.0]), 0.01), np.array([2, 1, 2])
    found = {q: float(quantiles(np.array([0, 3]), ids, counts, q, 0.01)[0]) for q in (0.0, 0.25, 0.49, 0.5, 0.75, 1.0)}
    assert {q: round(value) for q, value in found.items()} == {0.0: 1, 0.25: 1, 0.49: 1, 0.5: 2, 0.75: 3, 1.0: 3}
    assert np.isnan(quantiles(np.array([0, 0]), ids, counts, 0.5, 0.01)).all()
