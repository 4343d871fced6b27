"""One suite over every registered stream detector: what its contract promises, whatever it finds."""

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detector import STREAM_DETECTORS, StreamDetector, dump_state, load_class, load_state
from tocsin.errors import InputError, ModelError


def rows(seed: int, count: int = 3000) -> list[pa.Array]:
    rng = np.random.default_rng(seed)
    return [pa.array((rng.zipf(1.6, count) % size).astype(str)) for size in (3, 40, 900)]


def some(columns: list[pa.Array], start: int, stop: int) -> list[pa.Array]:
    return [column.slice(start, stop - start) for column in columns]


@pytest.fixture(params=sorted(STREAM_DETECTORS))
def make(request):
    return load_class(STREAM_DETECTORS, request.param)


def test_there_is_one_score_a_row_and_it_is_finite(make):
    said = make().observe(rows(1))

    assert said.raw.shape == said.score.shape == (3000,)
    assert np.isfinite(said.raw).all()
    assert ((said.score >= 0) & (said.score <= 1)).all()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_how_rows_are_dealt_into_batches_changes_nothing(make, size):
    columns, count = rows(1), 300 if size == 1 else 3000
    whole, dealt = make(), make()
    once = whole.observe(some(columns, 0, count)).score
    parts = [dealt.observe(some(columns, at, min(at + size, count))).score for at in range(0, count, size)]

    np.testing.assert_array_equal(np.concatenate(parts), once)
    np.testing.assert_array_equal(dealt.score(rows(2)).score, whole.score(rows(2)).score)


def test_scoring_changes_nothing(make):
    one, other = make(), make()
    one.observe(rows(1))
    other.observe(rows(1))
    before = dump_state(one.state())
    one.score(rows(2))

    assert dump_state(one.state()) == before
    np.testing.assert_array_equal(one.observe(rows(3)).score, other.observe(rows(3)).score)


def test_what_is_kept_and_restored_goes_on_alike(make):
    one = make()
    one.observe(rows(1))
    other = make().restore(load_state(dump_state(one.state())))

    np.testing.assert_array_equal(other.score(rows(2)).score, one.score(rows(2)).score)
    np.testing.assert_array_equal(other.observe(rows(3)).score, one.observe(rows(3)).score)


def test_a_state_of_another_format_or_with_a_part_missing_is_refused(make):
    one: StreamDetector = make()
    one.observe(rows(1))
    state = one.state()

    with pytest.raises(ModelError):
        make().restore({**state, "format": 99})
    for name in state:
        with pytest.raises(ModelError):
            make().restore({key: value for key, value in state.items() if key != name})


def test_what_does_not_fit_is_refused_and_nothing_is_learned(make):
    one, other = make(), make()
    one.observe(rows(1))
    other.observe(rows(1))
    with pytest.raises(InputError):
        one.observe([pa.array(["a", "b"]), pa.array(["c"])])

    np.testing.assert_array_equal(one.observe(rows(3)).score, other.observe(rows(3)).score)


def test_two_that_are_merged_know_what_one_knows_that_saw_both(make):
    if not make.mergeable:
        pytest.skip(f"{make.name} does not claim to be mergeable")
    one, other, both = make(), make(), make()
    one.observe(rows(1))
    other.observe(rows(2))
    both.observe(rows(1))
    both.observe(rows(2))
    one.merge(other)

    np.testing.assert_array_equal(one.score(rows(3)).score, both.score(rows(3)).score)
