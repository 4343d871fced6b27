"""The calibrated score is the share of normal records that score lower, and stays ordered beyond them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tocsin.detector import dump_state, load_state
from tocsin.errors import ModelError
from tocsin.verdict.calibration import Calibration

finite = st.floats(-1e9, 1e9, width=32)


def oracle(history: np.ndarray, raw: np.ndarray) -> np.ndarray:
    return np.array([100.0 * np.sum(history < value) / (len(history) + 1) for value in raw])


@given(arrays(np.float64, st.integers(1, 300), elements=finite))
def test_short_history_is_its_own_exact_distribution(history):
    calibration = Calibration.fit(history)
    assert np.allclose(calibration.score(history), oracle(history, history), atol=1e-9)


@given(
    arrays(np.float64, st.integers(1, 200), elements=finite), arrays(np.float64, 50, elements=st.floats(-1e12, 1e12))
)
def test_monotone_and_bounded(history, raw):
    scores = Calibration.fit(history).score(np.sort(raw))
    assert np.all(np.diff(scores) >= 0)
    assert scores.min() >= 0
    assert scores.max() <= 100


def test_large_history_agrees_with_the_counts_far_into_the_tail():
    history = np.random.default_rng(1).gamma(2.0, 3.0, 300_000)
    probe = np.quantile(history, [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999])
    scores = Calibration.fit(history).score(probe)
    expected = oracle(history, probe)
    assert np.all(np.abs(scores - expected) <= 0.05 * (100 - expected) + 0.02 * (expected < 99))


def test_discrete_scores_count_ties_as_not_lower():
    calibration = Calibration.fit(np.repeat([0.0, 1.0, 5.0], [900, 90, 9]))
    assert np.allclose(calibration.score(np.array([0.0, 0.5, 1.0, 3.0, 5.0])), [0, 90, 90, 99, 99])


def test_few_rows_claim_little_until_clearly_beyond():
    history = np.random.default_rng(2).normal(size=100)
    calibration = Calibration.fit(history)
    top = history.max()
    assert calibration.score(np.array([top]))[0] < 99.1
    assert calibration.score(np.array([top + 1e-6]))[0] < 99.1
    assert calibration.score(np.array([top + 10 * history.std()]))[0] > 99.99


def test_beyond_the_range_bigger_stays_bigger():
    calibration = Calibration.fit(np.random.default_rng(3).exponential(size=50_000))
    scores = calibration.score(np.geomspace(20, 1e5, 200))
    assert np.all(np.diff(scores) > 0)
    assert scores[-1] < 100


@pytest.mark.parametrize("draw", ["exponential", "standard_normal", "pareto"])
def test_tail_promises_are_kept_on_fresh_records(draw):
    rng = np.random.default_rng(4)
    extra = (3.0,) if draw == "pareto" else ()
    calibration = Calibration.fit(getattr(rng, draw)(*extra, size=1000))
    fresh = calibration.score(getattr(rng, draw)(*extra, size=1_000_000))
    for cut, slack in ((99.0, 2.0), (99.9, 4.0), (99.99, 12.0)):
        share = (fresh >= cut).mean()
        assert share <= slack * (1 - cut / 100)
    assert (fresh >= 99.0).mean() >= 0.3 * 0.01


def test_constant_history_still_orders_what_is_beyond():
    scores = Calibration.fit(np.full(500, 7.0)).score(np.array([6.0, 7.0, 7.1, 8.0, np.inf, np.nan]))
    assert scores[0] == scores[1] == 0
    assert 99 < scores[2] < scores[3] < scores[4] <= 100
    assert scores[5] == 0


def test_state_survives_keeping():
    raw = np.random.default_rng(5).lognormal(size=5000)
    calibration = Calibration.fit(raw)
    again = Calibration.restore(load_state(dump_state(calibration.state())))
    probe = np.linspace(-1, 500, 1000)
    assert np.array_equal(again.score(probe), calibration.score(probe))


def test_unusable_input_is_refused():
    with pytest.raises(ModelError, match="at least one finite"):
        Calibration.fit(np.array([np.nan, np.inf]))
    with pytest.raises(ModelError, match="format 9"):
        Calibration.restore({"format": 9})
    with pytest.raises(ModelError, match="incomplete"):
        Calibration.restore({"format": 1, "scores": [1.0]})
    state = Calibration.fit(np.arange(5.0)).state()
    with pytest.raises(ModelError, match="fit together"):
        Calibration.restore(state | {"shares": state["shares"][1:]})
