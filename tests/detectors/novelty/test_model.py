"""What a context says: the published example, and the laws of its score."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.rows import as_rows
from tocsin.kernels.compiler import COMPILED

slow_without_compiler = pytest.mark.skipif(not COMPILED, reason="takes minutes without the compiler")


def columns(*values) -> list[pa.Array]:
    return [pa.array(np.asarray(each).astype(str), pa.string()) for each in values]


def texts(*rows: str) -> list[pa.Array]:
    """Return the columns of rows such as "a b c"."""
    return columns_of([row.split() for row in rows])


def heavy(seed: int, count: int, sizes=(3, 40, 900, 50_000)) -> list[pa.Array]:
    """Return heavy-tailed values, of which the second goes with the first."""
    rng = np.random.default_rng(seed)
    values = [rng.zipf(1.5, count) % size for size in sizes]
    values[1] += 1000 * values[0]
    return columns(*values)


def observed(given: list[pa.Array], **options) -> NoveltyModel:
    model = NoveltyModel(Options(**options))
    model.observe(given)
    return model


# The published example


def test_the_published_example():
    model = NoveltyModel()
    said = model.observe(texts("my sample observation", "my sample other", "my sample observation"))
    row = as_rows(said)[2]

    assert row["probability"] == 0.6666666666666666
    assert row["infoContent"] == 0.5849625007211563
    assert row["mostNovelComponent"] == {"index": 2, "value": "observation", "novelty": 0.5849625007211563}
    assert row["sequence"] == 3
    assert row["uniqueness"] == pytest.approx(0.9943363088569089, rel=0, abs=1e-15)
    again = as_rows(model.score(texts("my sample observation")))[0]
    kept = ("probability", "infoContent", "mostNovelComponent", "sequence", "uniqueness", "observation")
    assert {name: again[name] for name in kept} == {name: row[name] for name in kept}


# Laws


@settings(max_examples=40)
@given(
    st.sampled_from(["given", "auto"]),
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.sampled_from("abcd"), min_size=n, max_size=n))),
)
def test_scores_lie_where_they_must(order, rows):
    if not rows:
        return
    model = NoveltyModel(Options(order=order))
    given = columns_of(rows)
    for said in (model.observe(given), model.score(given)):
        for part in (said.score, said.total_score, said.probability, said.uniqueness, said.confidence):
            assert ((part >= 0) & (part <= 1)).all()
        assert min(part.min() for part in (said.bits, said.raw, said.info_content)) >= 0
        summed = said.share.sum(axis=1)
        np.testing.assert_allclose(summed, np.where(said.raw > 0, 1, 0), atol=1e-12)
        np.testing.assert_allclose(said.bits.sum(axis=1), said.info_content, atol=1e-9)
    np.testing.assert_allclose(said.probability * len(rows), [rows.count(row) for row in rows])


@pytest.mark.parametrize("order", ["given", "auto"])
def test_the_certain_scores_nothing(order):
    model = NoveltyModel(Options(order=order))
    for said in (model.observe(texts(*["a b c"] * 500)), model.score(texts("a b c"))):
        assert said.score.max() == said.total_score.max() == said.raw.max() == said.info_content.max() == 0.0
        assert not said.share.any()
        assert not said.bits.any()


@slow_without_compiler
@settings(max_examples=40)
@given(st.lists(st.integers(1, 300), min_size=2, max_size=12), st.integers(0, 200), st.randoms())
def test_the_rarer_among_siblings_never_scores_lower(counts, elsewhere, random):
    rows = [["here", f"v{number}"] for number, count in enumerate(counts) for _ in range(count)]
    rows += [["there", "w"]] * elsewhere
    random.shuffle(rows)
    model = observed(columns_of(rows))
    order = np.argsort(counts)[::-1]
    said = model.score(columns_of([["here", f"v{number}"] for number in order]))
    assert (np.diff(said.score) >= 0).all()
    assert (np.diff(said.raw) >= -1e-9).all()


@pytest.mark.parametrize("order", ["given", "auto"])
def test_the_clearly_rarer_scores_higher(order):
    rows = ["web 443"] * 6000 + ["web 80"] * 600 + ["web 8080"] * 60 + ["web 8443"] * 6 + ["web 9999"]
    shuffled = np.random.default_rng(0).permutation(rows).tolist()
    model = observed(texts(*shuffled), order=order)
    said = model.score(texts("web 443", "web 80", "web 8080", "web 8443", "web 9999"))
    assert (np.diff(said.score) > 0).all()
    assert said.score[0] < 0.1
    assert said.score[-1] > 0.99


@slow_without_compiler
@pytest.mark.parametrize("order", ["given", "auto"])
def test_newness_is_no_news_where_it_is_the_rule(order):
    count = 20_000
    server = ["public" if number % 3 else "private" for number in range(count)]
    client = [f"new{number}" if number % 3 else f"c{number // 3 % 2}" for number in range(count)]
    model = observed(columns(server, client), order=order)
    public, private, known = model.score(texts("public never", "private never", "private c0")).score
    assert public < 0.6
    assert private > 0.99
    assert known < 0.9


def test_nothing_but_new_values_is_no_news():
    said = NoveltyModel().observe(columns(np.arange(20_000)))
    assert said.score[1000:].max() < 0.6


@slow_without_compiler
@pytest.mark.parametrize("order", ["given", "auto"])
def test_one_in_a_hundred_scores_from_99_on(order):
    model = observed(heavy(1, 30_000), order=order)
    said = model.observe(heavy(2, 60_000))
    assert 0.003 < (said.score >= 0.99).mean() < 0.03
    assert 0.03 < (said.score >= 0.9).mean() < 0.2


@slow_without_compiler
@pytest.mark.parametrize("order", ["given", "auto"])
@pytest.mark.parametrize("sizes", [(2, 10), (40, 40), (10, 20_000), (3, 40, 900, 50_000)])
def test_contexts_of_other_sizes_tell_as_often(order, sizes):
    model = observed(heavy(1, 30_000, sizes), order=order)
    score = model.observe(heavy(2, 40_000, sizes)).score
    # What is equally rare scores the same, so that the steps of a context of few values are steep.
    assert 0.4 < (score >= 0.5).mean() < 0.6
    assert 0.05 < (score >= 0.9).mean() < 0.13
    assert (score >= 0.99).mean() < 0.02


@slow_without_compiler
@pytest.mark.parametrize("sizes", [(2,), (2, 2), (4, 4), (3, 5, 7)])
def test_equally_frequent_values_never_become_news(sizes):
    rng = np.random.default_rng(3)
    said = NoveltyModel().observe(columns(*(rng.integers(0, size, 60_000) for size in sizes)))
    shares = (said.score[5000:].reshape(-1, 5000) >= 0.99).mean(axis=1)
    assert shares.max() < 0.02


@slow_without_compiler
@settings(max_examples=10)
@given(st.permutations(range(4)))
def test_auto_does_not_mind_the_order_of_the_columns(order):
    given, asked = heavy(1, 3000), heavy(2, 500)
    model, other = NoveltyModel(Options(order="auto")), NoveltyModel(Options(order="auto"))
    for one, two in (
        (model.observe(given), other.observe([given[at] for at in order])),
        (model.score(asked), other.score([asked[at] for at in order])),
    ):
        np.testing.assert_allclose(two.score, one.score, rtol=1e-12)
        np.testing.assert_allclose(two.raw, one.raw, rtol=1e-12)
        np.testing.assert_allclose(two.total_score, one.total_score, rtol=0, atol=0.04)  # bins of 1/32 bit
        np.testing.assert_allclose(two.share, one.share[:, list(order)], atol=1e-12)


def test_reading_changes_nothing_and_counts_what_is_unknown_as_if_it_came():
    model, other = observed(heavy(1, 3000)), observed(heavy(1, 3000))
    asked = columns(["0"], ["7"], ["never"], ["seen"])
    read, learned = model.score(asked), other.observe(asked)
    assert model.observed == 3000
    np.testing.assert_allclose(read.raw, learned.raw)
    np.testing.assert_allclose(read.bits, learned.bits)
    assert read.probability[0] == learned.probability[0] == 1 / 3001


def test_the_histogram_counts_every_score():
    model = NoveltyModel()
    said = model.observe(heavy(1, 5000))
    edges, counts = model.histogram()
    assert counts.sum() == 5000
    assert counts[-1] == (said.score >= edges[-2]).sum()


# What it knows


def test_top_and_export_tell_what_was_seen_most():
    model = observed(texts(*["a x"] * 5, *["b x"] * 3, *["a y"] * 2), fields=("who", "what"))
    assert model.top(0) == [("a", 7.0), ("b", 3.0)]
    assert model.top(1, most=1) == [("x", 8.0)]
    assert model.export_rows().to_pydict() == {"who": ["a", "b", "a"], "what": ["x", "x", "y"], "count": [5, 3, 2]}
    assert NoveltyModel().top(0) == []
    assert NoveltyModel().export_rows().num_rows == 0


def test_the_nearest_share_most_and_are_the_most_frequent():
    model = observed(texts(*["tcp 443 ssl"] * 9, *["tcp 80 http"] * 5, *["tcp 443 http"] * 2, "udp 53 dns"))
    near = model.nearest(texts("tcp 443 none", "tcp 443 ssl"), most=2)
    assert [(each.observation, each.count, each.differs) for each in near[0]] == [
        (("tcp", "443", "ssl"), 9.0, (2,)),
        (("tcp", "443", "http"), 2.0, (2,)),
    ]
    assert [each.observation for each in near[1]] == [("tcp", "443", "http"), ("tcp", "80", "http")]
    assert NoveltyModel().nearest(texts("a b")) == [[]]
