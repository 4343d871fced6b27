"""Numbers as categories."""

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.novelty.bins import LEARN_AT
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Bins, Options
from tocsin.detectors.novelty.pattern import Range, number_of
from tocsin.errors import InputError, SettingsError


def column(values) -> list[pa.Array]:
    return [pa.array([str(value) for value in values], pa.string())]


def binned(values, **bins) -> NoveltyModel:
    model = NoveltyModel(Options(bins={"0": Bins(**bins)}))
    model.observe(column(values))
    return model


def test_declared_edges():
    model = binned([-5, 0, 9.99, 10, "1e2", 99, 1e9], edges=(0.0, 10.0, 100.0))
    assert dict(model.top(0)) == {"below 0": 1, "0 to 10": 2, "10 to 100": 2, "from 100": 2}
    assert model.score(column(["12345"])).probability[0] == 2 / 7
    assert model.observe(column(["7"])).columns[0].to_pylist() == ["7"]  # told as it came


def test_what_is_no_number_stays_as_it_is():
    odd = ["", "nan", "inf", "-inf", "-", "1_000", "0x10", "1e999", "twelve", "null"]
    model = binned([*odd, None, 5], edges=(0.0,))
    assert dict(model.top(0, 20)) == {**dict.fromkeys(odd, 1), "None": 1, "from 0": 1}
    assert [number_of(text) for text in odd] == [None] * len(odd)
    assert [number_of(text) for text in ("5", "-1.5", " 7 ", "1e3")] == [5, -1.5, 7, 1000]


def test_edges_that_look_alike_are_not():
    model = binned([1000000.5, 1000001.5, 1000002.5], edges=(1000000.0, 1000001.0, 1000002.0, 1000003.0))
    assert dict(model.top(0)) == {
        "1e+06 to 1000001": 1,
        "1000001 to 1000002": 1,
        "1000002 to 1000003": 1,
    }


@pytest.mark.parametrize("before", [0, 900])
def test_quantiles_are_learned_and_then_stand(before):
    numbers = np.random.default_rng(1).lognormal(0, 2, 5000)
    model = NoveltyModel(Options(bins={"0": Bins(quantiles=8)}))
    model.observe(column(numbers[:before]))
    model.observe(column(numbers[before:]))
    top = model.top(0, 20)
    assert len(top) == 8
    assert sum(count for _, count in top) == 5000
    assert max(count for _, count in top) < 1.4 * 5000 / 8
    edges = model.state()["edges"]["0"]
    np.testing.assert_allclose(edges, np.quantile(numbers[:1024], np.arange(1, 8) / 8), rtol=0.05)
    model.observe(column(1000 * numbers))
    assert model.state()["edges"]["0"] == edges


def test_all_that_came_counts_in_the_bins_that_were_learned():
    numbers = np.random.default_rng(1).integers(0, 10_000, LEARN_AT[-1])
    model = binned(numbers, quantiles=4)
    edges = model.state()["edges"]["0"]
    expected = np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=4)
    assert sorted(count for _, count in model.top(0)) == sorted(expected.tolist())
    assert model.entries <= 4 + 1


def test_a_component_without_numbers_is_not_binned():
    assert binned(["a", "b"] * 1000, quantiles=4).top(0) == [("a", 1000), ("b", 1000)]
    assert binned([7] * 2000, quantiles=4).top(0) == [("from 7", 2000)]


@pytest.mark.parametrize("fading", [{"window": 200}, {"half_life": 200}], ids=str)
def test_what_had_faded_does_not_come_back_with_the_bins(fading):
    numbers = np.random.default_rng(1).integers(0, 10_000, 1500)
    learned = NoveltyModel(Options(bins={"0": Bins(quantiles=4)}, **fading))
    learned.observe(column(numbers))
    declared = NoveltyModel(Options(bins={"0": Bins(tuple(learned.state()["edges"]["0"]))}, **fading))
    declared.observe(column(numbers))
    assert dict(learned.top(0)) == pytest.approx(dict(declared.top(0)), rel=1e-4)
    assert learned.weight == pytest.approx(declared.weight, rel=1e-4)


def test_forget_takes_from_what_bins_are_learned_from_too():
    model = binned(["secret"] * 10 + list(range(30)), quantiles=4)
    assert model.forget(["secret"]) == 10
    model.observe(column(range(2000)))
    assert sum(count for _, count in model.top(0)) == 2030
    assert "secret" not in dict(model.top(0, 100))
    with pytest.raises(InputError, match="kept in bins"):
        model.forget([Range("1", "5")])
    name = model.top(0, 1)[0][0]
    assert model.forget([name]) > 100


def test_everything_of_a_learning_context_may_be_forgotten():
    model = binned(["a"] * 40, quantiles=4)
    model.forget(["a"])
    assert len(model.observe(column([1] * 100))) == 100
    assert model.weight == 100


def test_merging_needs_the_same_bins():
    one, other = binned(range(2000), quantiles=4), binned(range(3, 2003), quantiles=4)
    with pytest.raises(InputError, match="bin numbers differently"):
        one.merge(other)
    with pytest.raises(InputError, match="bin numbers differently"):
        one.merge(binned(range(5000), edges=(5.0,)))
    with pytest.raises(InputError, match="bin numbers differently"):
        NoveltyModel().merge(one)
    with pytest.raises(InputError, match="still learning"):
        binned([1, 2], quantiles=4).merge(binned([3, 4], quantiles=4))
    assert one.weight == 2000
    twin = binned(range(2000), quantiles=4)
    one.merge(twin)
    assert one.weight == 4000


@pytest.mark.parametrize("count", [10, 500, 2000])
def test_one_that_knows_nothing_takes_over_the_bins(count):
    numbers = np.random.default_rng(1).integers(0, 10_000, 4000)
    whole = binned(numbers, quantiles=4)
    part = binned(numbers[:count], quantiles=4)
    fresh = NoveltyModel(Options(bins={"0": Bins(quantiles=4)}))
    fresh.merge(part)
    fresh.observe(column(numbers[count:]))
    assert dict(fresh.top(0)) == dict(whole.top(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"edges": (1.0, 1.0)},
        {"edges": (2.0, 1.0)},
        {"edges": (1.0, float("nan"))},
        {"edges": (float("inf"),)},
        {"edges": tuple(float(at) for at in range(300))},
        {"quantiles": 1},
        {"quantiles": 300},
        {"quantiles": -2},
        {},
        {"edges": (1.0,), "quantiles": 4},
    ],
    ids=str,
)
def test_wrong_bins_are_refused(wrong):
    with pytest.raises(SettingsError, match="bins"):
        Bins(**wrong)
