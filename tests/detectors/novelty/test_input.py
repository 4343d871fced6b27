"""Odd input: what is taken, what is refused, and that nothing is learned then."""

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.portable import dump
from tocsin.detectors.novelty.rows import as_rows
from tocsin.errors import InputError

ROWS = [["tcp", "443"], ["udp", "53"], ["tcp", "443"], ["tcp", "80"]]


def taught(given, **options) -> tuple[NoveltyModel, list]:
    model = NoveltyModel(Options(**options))
    return model, as_rows(model.observe(given))


def test_an_empty_batch_teaches_nothing():
    model = NoveltyModel()
    nothing = [pa.array([], pa.string())] * 3
    assert len(model.observe(nothing)) == len(model.score(nothing)) == 0
    assert (model.length, model.observed, model.entries) == (0, 0, 0)
    model.observe(columns_of(ROWS))
    assert model.observe([pa.array([], pa.string())] * 2).bits.shape == (0, 2)
    assert model.observed == 4


def test_what_was_never_taught_can_be_asked():
    model = NoveltyModel()
    row = as_rows(model.score(columns_of([["a", "b"]])))[0]
    assert (row["score"], row["sequence"], row["probability"], row["warm"]) == (0.0, 0, 1.0, False)
    assert model.length == 0
    assert model.forget(["a", None]) == 0


@pytest.mark.parametrize("length", [1, 2, 32])
@pytest.mark.parametrize("order", ["given", "auto"])
def test_one_to_32_components(order, length):
    model, rows = taught(columns_of([["same"] * length] * 3 + [["same"] * (length - 1) + ["other"]]), order=order)
    assert model.length == length
    assert rows[2]["score"] == 0.0
    assert rows[3]["mostNovelComponent"] == {"index": length - 1, "value": "other", "novelty": 2.0}


@pytest.mark.parametrize("count", [0, 33])
def test_no_or_too_many_components_are_refused(count):
    model = NoveltyModel()
    with pytest.raises(InputError, match=f"1 to 32 components, not {count}"):
        model.observe([pa.array(["a"])] * count)
    assert model.length == 0


def test_what_does_not_fit_is_refused_and_teaches_nothing():
    model, _ = taught(columns_of(ROWS))
    before = dump(model)
    with pytest.raises(InputError, match="this context has 2 components, not 3"):
        model.observe([pa.array(["a"])] * 3)
    with pytest.raises(InputError, match="different lengths"):
        model.observe([pa.array(["a"]), pa.array(["a", "b"])])
    with pytest.raises(InputError, match="2 components"):
        model.score([pa.array(["a"])])
    with pytest.raises(InputError, match="2 components"):
        model.nearest([pa.array(["a"])])
    assert dump(model) == before
    with pytest.raises(InputError, match="2 components"):
        NoveltyModel(Options(fields=("a", "b"))).observe([pa.array(["a"])])


def test_any_text_is_a_value():
    odd = ["", " ", "\x00", "\x00\x00", "😀", "é", "e\u0301", "x" * 65_536, "x" * 65_535, "null", "(others)", '"', "5"]
    model, rows = taught(columns_of([[text] for text in odd]))
    assert [row["observation"][0] for row in rows] == odd
    assert {text for text, _ in model.top(0, most=100)} == set(odd)
    assert model.score(columns_of([["😀"], ["x" * 65_535]])).probability.tolist() == [1 / 13, 1 / 13]


def test_the_same_text_in_another_component_is_another_value():
    model, _ = taught(columns_of([["a", "b"]] * 3))
    assert model.score(columns_of([["b", "a"]])).probability[0] == 1 / 4


def as_columns(make) -> list:
    return [make(list(column)) for column in zip(*ROWS, strict=True)]


@pytest.mark.parametrize(
    "make",
    [
        lambda texts: pa.array(texts, pa.large_string()),
        lambda texts: pa.array(texts, pa.string_view()),
        lambda texts: pa.array(texts).dictionary_encode(),
        lambda texts: pa.chunked_array([texts[:1], texts[1:]], pa.string()),
        lambda texts: pa.chunked_array(
            [pa.array(texts[:3]).dictionary_encode(), pa.array(texts[3:]).dictionary_encode()]
        ),
        lambda texts: pa.array(["x", "y", *texts, "z"])[2:-1],
        lambda texts: pa.array(np.repeat(texts, 2)[::2]),
    ],
    ids=["large", "view", "dictionary", "chunked", "chunked dictionary", "slice", "taken"],
)
def test_any_column_of_text_is_the_same(make):
    expected = taught(columns_of(ROWS))[1]
    assert taught(as_columns(make))[1] == expected


def test_numbers_and_nulls_are_text_as_in_json():
    values = [1, 2.5, None, True, "x", 3.0, -0.0, 1e300, 2**53 - 1]
    said = [row["observation"][0] for row in taught(columns_of([[value] for value in values]))[1]]
    assert said == ["1", "2.5", "null", "true", "x", "3", "0", "1e+300", str(2**53 - 1)]
    for typed in (
        pa.array([1, 2, None], pa.int16()),
        pa.array([1.0, 2.0, None]),
        pa.array([1.0, 2.0, None], pa.float32()),
        pa.array([1, 2, None]).dictionary_encode(),
    ):
        assert [row["observation"][0] for row in taught([typed])[1]] == ["1", "2", "null"]
    assert [row["observation"][0] for row in taught([pa.array([2.5, 1e-7])])[1]] == ["2.5", "1e-07"]
    assert [row["observation"][0] for row in taught([pa.array([True, None])])[1]] == ["true", "null"]
    assert [row["observation"][0] for row in taught([pa.nulls(2)])[1]] == ["null", "null"]


def test_times_that_do_not_fit_are_refused():
    model = NoveltyModel(Options(half_life_s=60))
    given = columns_of(ROWS)
    for wrong in (None, np.arange(3), 1.5, np.array(["x"] * 4), np.zeros((4, 1), np.int64)):
        with pytest.raises(InputError, match="time"):
            model.observe(given, wrong)
    assert model.observed == 0
    model.observe(given, 10**15)
    model.observe(given, np.full(4, 10**15))
    assert model.observed == 8
