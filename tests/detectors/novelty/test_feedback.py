"""What people do with a context: feedback, forget, merge."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.feedback import Feedback
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.pattern import Range
from tocsin.detectors.novelty.portable import dump, load
from tocsin.errors import InputError
from tocsin.kernels.compiler import COMPILED

slow_without_compiler = pytest.mark.skipif(not COMPILED, reason="takes minutes without the compiler")
SAID = ("score", "total_score", "raw", "bits", "share", "probability", "uniqueness", "most_novel")


def columns(*values) -> list[pa.Array]:
    return [pa.array(np.asarray(each).astype(str), pa.string()) for each in values]


def heavy(seed: int, count: int, sizes=(3, 40, 900)) -> list[pa.Array]:
    rng = np.random.default_rng(seed)
    return columns(*(rng.zipf(1.5, count) % size for size in sizes))


def observed(given: list[pa.Array], **options) -> NoveltyModel:
    model = NoveltyModel(Options(**options))
    model.observe(given)
    return model


def assert_same(one: NoveltyModel, other: NoveltyModel, asked: list[pa.Array]) -> None:
    said, also = one.score(asked), other.score(asked)
    for name in SAID:
        np.testing.assert_array_equal(getattr(said, name), getattr(also, name), err_msg=name)


# Feedback


@pytest.mark.parametrize("count", [3000, 30_000])
def test_feedback_lowers_its_kind_and_no_other_until_undone(count):
    model, asked = observed(heavy(1, count)), heavy(2, 2000)
    before = model.score(asked)
    model.feedback([None, "7", None], 0.5, id="a", at_us=1)
    model.feedback(["1", "7", None], 0.9, id="b", at_us=2)
    first, second = (np.array(asked[at].to_pylist()) for at in (0, 1))
    left = np.where(second == "7", np.where(first == "1", 0.05, 0.5), 1.0)
    after = model.score(asked)
    np.testing.assert_allclose(after.raw, before.raw * left)
    np.testing.assert_array_equal(after.raw[left == 1], before.raw[left == 1])
    np.testing.assert_array_equal(after.score[left == 1], before.score[left == 1])
    is_hit = (left < 1) & (before.score > 0)
    assert is_hit.sum() > 10
    assert (after.score[is_hit] < before.score[is_hit]).all()
    assert (after.total_score[is_hit] < before.total_score[is_hit]).all()
    np.testing.assert_array_equal(after.bits, before.bits)

    model.undo("b")
    model.undo("a")
    again = model.score(asked)
    for name in SAID:
        np.testing.assert_array_equal(getattr(again, name), getattr(before, name))


def test_undone_feedback_leaves_no_trace_in_what_comes_later():
    one, other = observed(heavy(1, 3000)), observed(heavy(1, 3000))
    one.feedback([None, "7", None], id="a", at_us=1)
    one.observe(heavy(2, 9000))
    one.undo("a")
    other.observe(heavy(2, 9000))
    assert_same(one, other, heavy(3, 500))
    np.testing.assert_array_equal(one.observe(heavy(4, 9000)).score, other.observe(heavy(4, 9000)).score)


def test_feedback_may_be_about_what_was_never_seen():
    model = observed(heavy(1, 3000))
    asked = columns(["1"], ["never"], ["seen"])
    before = model.score(asked).score[0]
    model.feedback([None, "never", None], 1.0, id="a", at_us=1)
    assert before > 0.9
    assert model.score(asked).score[0] == 0.0
    assert NoveltyModel.of(model.state()).score(asked).score[0] == 0.0


def test_wrong_feedback_is_refused():
    with pytest.raises(InputError, match="observed here"):
        NoveltyModel().feedback(["a"], id="a", at_us=1)
    model = observed(heavy(1, 100))
    model.feedback([None, "1", None], id="a", at_us=1)
    for pattern, strength, id, why in [
        (["1"], 0.9, "b", "3 components"),
        ([None] * 3, 0.9, "b", "one component at least"),
        ([None, "1", None], 0.9, "a", "there already"),
        ([None, "1", None], 0.0, "b", "strength"),
        ([None, "1", None], 1.1, "b", "strength"),
        ([None, "1", None], float("nan"), "b", "strength"),
        ([None, "1", None], 0.9, "", "needs a name"),
    ]:
        with pytest.raises(InputError, match=why):
            model.feedback(pattern, strength, id=id, at_us=1)
    with pytest.raises(InputError, match="no feedback 'b'; there are a"):
        model.undo("b")
    assert list(model.feedbacks) == ["a"]


def test_feedback_is_written_and_read():
    given = Feedback("a", ("x", None), 0.5, 12, "me", "fine")
    assert Feedback.of(given.as_dict()) == given


# Forget


@slow_without_compiler
def test_forgetting_leaves_a_context_that_never_saw_it():
    given, asked = heavy(1, 5000), heavy(2, 500)
    for pattern, is_kept in [
        ([None, "7", None], lambda a, b, c: b != 7),
        (["1", "7", None], lambda a, b, c: (a != 1) | (b != 7)),
        ([None, None, Range("10", "99")], lambda a, b, c: (c < 10) | (c > 99)),
        ([None, Range(None, "2"), Range("5")], lambda a, b, c: (b > 2) | (c < 5)),
    ]:
        for order in ("given", "auto"):
            model = observed(given, order=order)
            kept = is_kept(*(np.array(column.to_pylist()).astype(int) for column in given))
            assert model.forget(pattern) == (~kept).sum() > 0
            model.calibrate()
            assert_same(model, observed([column.filter(pa.array(kept)) for column in given], order=order), asked)
            assert model.forget(pattern) == 0


def test_forgetting_reaches_into_a_window():
    given = heavy(1, 5000)
    model = observed(given, window=1000)
    model.forget([None, "1", None])
    model.observe(columns(["a"] * 2000, ["b"] * 2000, ["c"] * 2000))
    assert model.export_rows().num_rows == 1


def test_ranges_of_text_and_of_numbers():
    texts = pa.array(["alpha", "beta", "gamma", "5", "10", "1e1", "-3", "nan", ""])
    for low, high, expected in [
        ("alpha", "beta", ["alpha", "beta"]),
        ("b", None, ["beta", "gamma", "nan"]),
        (None, "5", ["5", "-3"]),
        ("5", None, ["5", "10", "1e1"]),
        ("9", "a", []),
        ("5", "-3", []),
        ("10", "10", ["10", "1e1"]),
    ]:
        assert texts.filter(pa.array(Range(low, high).holds(texts))).to_pylist() == expected


def test_a_pattern_that_says_nothing_is_refused():
    model = observed(heavy(1, 100))
    for pattern in ([None] * 3, [None, Range(), None], ["a"], []):
        with pytest.raises(InputError, match="pattern"):
            model.forget(pattern)
    with pytest.raises(InputError, match=r"\[0\]: nothing is from '10' to '9'"):
        model.forget([Range("10", "9"), None, None])
    assert model.weight == 100


# Merge

parts = st.lists(
    st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=2), max_size=30), min_size=1, max_size=4
)


@settings(max_examples=30)
@given(parts, st.randoms(), st.sampled_from(["given", "auto"]))
def test_merging_in_any_order_knows_what_one_knows_that_saw_all(parts, random, order):
    asked = columns_of([[a, b] for a in "abcd" for b in "abcd"])
    rows = [row for part in parts for row in part]
    whole = NoveltyModel(Options(order=order))
    if rows:
        whole.observe(columns_of(rows))
    split = [NoveltyModel(Options(order=order)) for _ in parts]
    for model, part in zip(split, parts, strict=True):
        if part:
            model.observe(columns_of(part))
    random.shuffle(split)
    while len(split) > 1:
        one, other = split.pop(random.randrange(len(split))), split.pop()
        one.merge(load(dump(other)))
        split.append(one)
    whole.calibrate()
    assert_same(split[0], whole, asked)
    assert split[0].observed == whole.observed


@slow_without_compiler
@pytest.mark.parametrize("order", ["given", "auto"])
def test_merging_large_contexts(order):
    one, other, both = (observed(heavy(1, 20_000), order=order) for _ in range(3))
    other = observed(heavy(2, 20_000), order=order)
    held = dump(other)
    both.observe(heavy(2, 20_000))
    both.calibrate()
    back = load(held)
    back.merge(one)
    one.merge(other)
    assert dump(other) == held
    for each in (one, back):
        assert_same(each, both, heavy(3, 2000))


def test_merging_itself_counts_everything_twice():
    model, both = observed(heavy(1, 3000)), observed(heavy(1, 3000))
    both.observe(heavy(1, 3000))
    model.merge(model)
    assert_same(model, both, heavy(2, 500))


@pytest.mark.parametrize("fading", [{"half_life": 2000}, {"window": 2000}], ids=str)
def test_merging_lets_no_step_pass(fading):
    one, other = observed(heavy(1, 1800), **fading), observed(heavy(2, 1800), **fading)
    weight = one.weight + other.weight
    one.merge(other)
    assert one.weight == weight
    one.observe(heavy(3, 1))
    assert one.weight >= weight * 2 ** (-1 / 8)


@pytest.mark.parametrize("fading", [{"half_life_s": 800}, {"window_s": 800}], ids=str)
def test_merging_by_time_brings_both_to_the_later_one(fading):
    second = 1_000_000
    times = np.sort(np.random.default_rng(1).integers(0, 1600, 3000)) * second
    whole, early, late = (NoveltyModel(Options(**fading)) for _ in range(3))
    given = heavy(1, 3000)
    whole.observe(given, times)
    early.observe([column.slice(0, 1500) for column in given], times[:1500])
    late.observe([column.slice(1500) for column in given], times[1500:])
    held = dump(early)
    for one, other in ((load(dump(early)), late), (load(dump(late)), early)):
        one.merge(other)
        np.testing.assert_allclose(one.weight, whole.weight, rtol=0.03)  # the rarest are dropped apart
        np.testing.assert_allclose(
            one.score(heavy(2, 300)).probability, whole.score(heavy(2, 300)).probability, rtol=0.03, atol=5e-4
        )
    assert dump(early) == held


def test_contexts_that_do_not_fit_are_not_merged():
    model = observed(heavy(1, 100))
    model.feedback(["1", None, None], id="a", at_us=1)
    before = dump(model)
    clash = observed(heavy(1, 100))
    clash.feedback(["2", None, None], id="a", at_us=1)
    for other, why in [
        (observed(heavy(1, 100, (2, 3))), "components"),
        (observed(heavy(1, 100), order="auto"), "order"),
        (observed(heavy(1, 100), window=100), "fade"),
        (observed(heavy(1, 100), half_life=100), "fade"),
        (clash, "feedback 'a'"),
    ]:
        with pytest.raises(InputError, match=why):
            model.merge(other)
    assert dump(model) == before
    model.merge(NoveltyModel())
    assert dump(model) == before
    model.merge(load(before))
    assert list(model.feedbacks) == ["a"]
