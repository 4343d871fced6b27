"""How old observations lose weight, and how a context stays small."""

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.novelty.memory import BLOCK, Memory
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.portable import dump
from tocsin.kernels.compiler import COMPILED

slow_without_compiler = pytest.mark.skipif(not COMPILED, reason="takes minutes without the compiler")
SECOND = 1_000_000


def columns(*values) -> list[pa.Array]:
    return [pa.array(np.asarray(each).astype(str), pa.string()) for each in values]


def heavy(seed: int, count: int, sizes=(3, 40, 900)) -> list[pa.Array]:
    rng = np.random.default_rng(seed)
    return columns(*(rng.zipf(1.5, count) % size for size in sizes))


def some(given: list[pa.Array], start: int, stop: int) -> list[pa.Array]:
    return [column.slice(start, stop - start) for column in given]


def counts(model: NoveltyModel) -> dict:
    table = model.export_rows()
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return {row[:-1]: row[-1] for row in rows}


# Half-life


@pytest.mark.parametrize("order", ["given", "auto"])
def test_after_a_half_life_an_observation_weighs_half(order):
    model = NoveltyModel(Options(half_life=800, order=order))
    model.observe(columns(["old"] * 100, ["x"] * 100))
    model.observe(columns(["new"] * 700, ["x"] * 700))  # the step that begins at 800 passes with the next
    model.observe(columns(["new"], ["x"]))
    assert counts(model)["old", "x"] == pytest.approx(50, rel=1e-4)
    assert model.weight == pytest.approx(sum(counts(model).values()))
    model.observe(columns(["new"] * 800, ["x"] * 800))
    assert counts(model)["old", "x"] == pytest.approx(25, rel=1e-4)


@slow_without_compiler
def test_a_half_life_bounds_what_is_known():
    model = NoveltyModel(Options(half_life=800))
    model.observe(columns(np.arange(60_000)))
    assert model.weight < 1.2 * 800 / np.log(2)
    assert model.entries < 4 * 800 + 2000
    assert len(counts(model)) <= 900  # what was seen once is gone after a half-life


def test_a_half_life_in_seconds():
    model = NoveltyModel(Options(half_life_s=3600))
    model.observe(columns(["old"] * 64), 0)
    model.observe(columns(["new"]), 3600 * SECOND)
    assert counts(model) == {("old",): pytest.approx(32, rel=1e-4), ("new",): 1.0}
    model.observe(columns(["new"]), 10 * 3600 * SECOND)
    assert counts(model) == {("new",): 1.0}


# Windows


@pytest.mark.parametrize("order", ["given", "auto"])
@pytest.mark.parametrize("count", [800, 899, 900, 901, 2000, 5050])
def test_a_window_knows_the_newest_seven_to_eight_eighths(order, count):
    given, asked = heavy(1, count), heavy(2, 300)
    model = NoveltyModel(Options(window=800, order=order))
    model.observe(given)
    kept = count if count <= 800 else 700 + (count - 1) % 100 + 1
    fresh = NoveltyModel(Options(order=order))
    fresh.observe(some(given, count - kept, count))

    assert model.weight == kept
    assert counts(model) == counts(fresh)
    np.testing.assert_array_equal(model.score(asked).raw, fresh.score(asked).raw)
    np.testing.assert_array_equal(model.score(asked).score, fresh.score(asked).score)


def test_a_window_in_seconds():
    given, asked = heavy(1, 2000), heavy(2, 300)
    times = np.sort(np.random.default_rng(1).integers(0, 1000, 2000)) * SECOND
    model = NoveltyModel(Options(window_s=80))
    model.observe(given, times)
    begin = np.searchsorted(times, (times[-1] // (10 * SECOND) - 7) * 10 * SECOND)
    fresh = NoveltyModel()
    fresh.observe(some(given, int(begin), 2000))
    assert counts(model) == counts(fresh)
    np.testing.assert_array_equal(model.score(asked).score, fresh.score(asked).score)
    model.observe(columns(["a"], ["b"], ["c"]), int(times[-1]) + 81 * SECOND)
    assert counts(model) == {("a", "b", "c"): 1.0}


def test_a_late_observation_counts_with_the_newest():
    model = NoveltyModel(Options(window_s=80))
    model.observe(columns(["a", "b", "c"]), np.array([100, 50, 110]) * SECOND)
    assert counts(model) == {("a",): 1, ("b",): 1, ("c",): 1}


@pytest.mark.parametrize("fading", [{"half_life": 1000}, {"window": 1000}])
def test_what_was_usual_long_ago_is_novel_again(fading):
    rng = np.random.default_rng(1)
    long_ago, now = rng.integers(0, 3, 5000), rng.integers(3, 6, 20_000)
    model, without = NoveltyModel(Options(**fading)), NoveltyModel()
    for each in (model, without):
        each.observe(columns(["x"] * 5000, long_ago))
        each.observe(columns(["x"] * 20_000, now))
        each.calibrate()
    assert model.score(columns(["x"], ["0"])).score[0] > 0.99
    assert without.score(columns(["x"], ["0"])).score[0] < 0.99
    assert model.score(columns(["x"], ["4"])).score[0] < 0.9


# How rows are dealt, and keeping

VARIANTS = [
    {},
    {"order": "auto"},
    {"half_life": 300},
    {"half_life": 300, "order": "auto"},
    {"window": 700},
    {"window": 700, "order": "auto"},
    {"half_life_s": 90},
    {"window_s": 90},
    {"bins": {"2": {"quantiles": 6}}},
    {"bins": {"2": {"quantiles": 6}}, "window": 500},
    {"bins": {"2": {"quantiles": 6}}, "half_life_s": 60},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_how_rows_are_dealt_and_whether_it_was_kept_between_changes_nothing(options):
    count = 3000
    given, asked = heavy(1, count), heavy(2, 500)
    times = np.cumsum(np.random.default_rng(3).integers(0, SECOND // 3, count))
    whole, dealt = NoveltyModel(Options.of(options)), NoveltyModel(Options.of(options))
    for each in (whole, dealt):
        each.observe(some(given, 0, 10), times[:10])
        each.feedback([None, "1", None], id="1", at_us=0)
    once = whole.observe(some(given, 10, count), times[10:])
    rng, at, parts = np.random.default_rng(5), 10, []
    while at < count:
        stop = min(count, at + int(rng.choice([1, 2, 30, 400])))
        parts.append(dealt.observe(some(given, at, stop), times[at:stop]))
        if rng.random() < 0.1:
            dealt = NoveltyModel.of(dealt.state())
        at = stop
    for name in ("score", "total_score", "raw", "bits", "share", "probability", "sequence"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(once, name))
    np.testing.assert_array_equal(dealt.score(asked).score, whole.score(asked).score)
    np.testing.assert_array_equal(dealt.histogram()[1], whole.histogram()[1])


# At most so many entries


@slow_without_compiler
@pytest.mark.parametrize("options", [{}, {"order": "auto"}, {"half_life": 30_000}, {"window": 30_000}], ids=str)
def test_folding_does_not_mind_how_rows_are_dealt_or_kept(options):
    count = 5 * BLOCK + 100
    rng = np.random.default_rng(1)
    given = columns(rng.zipf(1.3, count) % 5000, rng.zipf(1.5, count) % 90_000)
    whole, dealt = (NoveltyModel(Options(max_entries=3000, **options)) for _ in range(2))
    once = whole.observe(given)
    assert any("(others)" in row for row in counts(whole))
    at, parts = 0, []
    while at < count:
        stop = min(count, at + int(rng.choice([700, 9000, 20_000])))
        parts.append(dealt.observe(some(given, at, stop)))
        dealt = NoveltyModel.of(dealt.state())
        at = stop
    np.testing.assert_array_equal(np.concatenate([part.score for part in parts]), once.score)
    assert counts(dealt) == counts(whole)


@slow_without_compiler
def test_entries_stay_few_and_the_frequent_stays():
    model = NoveltyModel(Options(max_entries=20_000))
    rng = np.random.default_rng(1)
    most = 0
    for _ in range(10):
        frequent = rng.random(100_000) < 0.3
        first = np.where(frequent, "often", rng.integers(0, 1000, 100_000).astype(str))
        second = np.where(frequent, rng.integers(0, 20, 100_000), rng.integers(0, 2**40, 100_000))
        model.observe(columns(first, second))
        most = max(most, model.entries)
    assert most <= 20_000 + 2 * BLOCK
    assert model.weight == 1_000_000
    assert model.nbytes < 30_000_000  # texts too
    held = counts(model)
    often = [held["often", str(number)] for number in range(20)]
    assert sum(often) == pytest.approx(300_000, rel=0.01)
    assert max(model.score(columns(["often"] * 20, range(20))).score) < 0.9


@slow_without_compiler
def test_newness_stays_no_news_after_folding():
    model = NoveltyModel(Options(max_entries=2000))
    count = 10 * BLOCK
    is_public = np.arange(count) % 3 > 0
    server = np.where(is_public, "public", "private")
    client = np.where(is_public, np.arange(count), np.arange(count) // 3 % 2)
    said = model.observe(columns(server, client))
    assert said.score[1000:][is_public[1000:]].max() < 0.6
    public, private = model.score(columns(["public", "private"], ["never", "never"])).score
    assert public < 0.6
    assert private > 0.99


@slow_without_compiler
@pytest.mark.parametrize(("order", "most"), [("given", 4000), ("auto", 20_000)])
def test_folding_keeps_scores_calibrated(order, most):
    model = NoveltyModel(Options(max_entries=most, order=order))
    sizes = (3, 40, 50_000)
    model.observe(heavy(1, 60_000, sizes))
    said = model.observe(heavy(2, 60_000, sizes))
    assert 0.05 < (said.score >= 0.9).mean() < 0.13
    assert (said.score >= 0.99).mean() < 0.03


@slow_without_compiler
@pytest.mark.parametrize("options", [{"window": 20_000}, {"window": 20_000, "order": "auto"}], ids=str)
def test_what_was_folded_leaves_the_window_too(options):
    model = NoveltyModel(Options(max_entries=2000, **options))
    model.observe(columns(np.arange(60_000), np.arange(60_000)))
    assert model.weight <= 20_000
    assert sum(counts(model).values()) == model.weight
    model.observe(columns(["a"] * 30_000, ["b"] * 30_000))
    assert counts(model) == {("a", "b"): model.weight}


# Texts that nothing uses any more


@slow_without_compiler
def test_texts_of_what_has_gone_go_too():
    model = NoveltyModel(Options(window=1000))
    rng = np.random.default_rng(1)
    for number in range(8):
        model.observe(columns(rng.integers(0, 10, 50_000), rng.integers(0, 2**40, 50_000)))
        assert len(model.state()["hashes"]) < 130_000, number


@slow_without_compiler
@pytest.mark.parametrize("options", [{"window": 1000}, {"half_life": 1000}, {"max_entries": 3000}], ids=str)
def test_letting_go_of_texts_changes_no_score(options, monkeypatch):
    rng = np.random.default_rng(1)
    count = 40_000
    given = columns(rng.zipf(1.5, count) % 40, rng.zipf(1.2, count) % 100_000)
    lean, full = NoveltyModel(Options(**options)), NoveltyModel(Options(**options))
    said = []
    for model, least in ((lean, 100), (full, 10**9)):
        monkeypatch.setattr(Memory.prune, "__defaults__", (least,))
        model.observe(some(given, 0, 50))
        model.feedback([None, "1"], id="1", at_us=0)
        said.append(np.concatenate([model.observe(some(given, at, at + 500)).score for at in range(50, count, 500)]))
    assert len(lean.state()["hashes"]) < len(full.state()["hashes"]) / 2
    np.testing.assert_array_equal(*said)
    assert counts(lean) == counts(full)


def test_forgotten_texts_are_nowhere():
    model = NoveltyModel()
    model.observe(columns(["alice", "bob", "alice"], ["x", "x", "secret"]))
    model.forget(["alice", None])
    kept = dump(model, compressed=False)
    assert b"bob" in kept
    assert b"alice" not in kept
    assert b"secret" not in kept
