"""Contexts as files: they come back the same, and what is damaged or hostile is refused."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.portable import dump, load
from tocsin.errors import ModelError
from tocsin.kernels.compiler import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="takes minutes without the compiler, whose loops it guards")
SECOND = 1_000_000


def heavy(seed: int, count: int, sizes=(3, 40, 900)) -> list[pa.Array]:
    rng = np.random.default_rng(seed)
    return [pa.array((rng.zipf(1.5, count) % size).astype(str), pa.string()) for size in sizes]


def taught(count: int = 600, **options) -> NoveltyModel:
    model = NoveltyModel(Options.of(options))
    model.observe(heavy(1, count), np.arange(count) * SECOND)
    model.feedback(["1", None, None], id="a", at_us=1, by="me", note="fine 😀")
    return model


VARIANTS = [
    {},
    {"order": "auto", "fields": ["a", "b", "c"]},
    {"half_life": 300},
    {"window": 300},
    {"window_s": 100},
    {"bins": {"2": {"quantiles": 6}}},
    {"bins": {"1": {"edges": [2, 5]}}, "half_life_s": 60},
]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_what_comes_back_is_the_same(options, compressed):
    model = taught(**options)
    file = dump(model, compressed=compressed)
    back = load(file)
    assert dump(back, compressed=compressed) == file
    assert back.options == model.options
    assert back.feedbacks == model.feedbacks
    assert (back.observed, back.weight, back.fields) == (model.observed, model.weight, model.fields)
    later = 700 * SECOND
    for one, other in (
        (model.score, back.score),
        (lambda c: model.observe(c, later), lambda c: back.observe(c, later)),
    ):
        np.testing.assert_array_equal(one(heavy(2, 3000)).score, other(heavy(2, 3000)).score)


def test_an_empty_context_comes_back():
    assert load(dump(NoveltyModel())).length == 0
    back = load(dump(NoveltyModel(Options(fields=("a", "b")))))
    assert (back.length, back.fields) == (2, ("a", "b"))


def test_a_file_holds_no_pickle():
    with zipfile.ZipFile(io.BytesIO(dump(taught(window=300)))) as archive:
        for name in archive.namelist():
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


def survives(data: bytes) -> None:
    """Load what may be damaged: refused, or good for learning and reading."""
    try:
        model = load(data)
    except ModelError:
        return
    exercised(model)


def exercised(model: NoveltyModel) -> None:
    asked = heavy(3, 50, (3, 40, 900)[: model.length or 3])
    said = model.observe(asked, 10**15)
    assert np.isfinite(said.score).all()
    model.score(asked)
    model.nearest([column.slice(0, 2) for column in asked])
    model.top(0)
    model.export_rows()
    model.forget(["0", *[None] * (model.length - 1)])
    dump(model)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [dump(taught(200, window=200), compressed=compressed) for compressed in (True, False)] + [
        dump(taught(20, bins={"2": {"quantiles": 6}}, half_life=100), compressed=False)
    ]


def test_every_shorter_file_is_refused(files):
    for file in files:
        for end in [*range(0, len(file), max(1, len(file) // 200)), *range(len(file) - 30, len(file))]:
            with pytest.raises(ModelError):
                load(file[:end])


@settings(max_examples=300)
@given(st.integers(0, 2), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_does_no_harm(files, which, at, bit):
    file = bytearray(files[which])
    file[int(at * len(file))] ^= 1 << bit
    survives(bytes(file))


@pytest.mark.parametrize("end", [22, 46, 80, 300])
def test_flipped_bits_of_the_directory_are_refused_or_do_no_harm(files, end):
    for at in range(max(0, end - 60), end):
        file = bytearray(files[1])
        file[-1 - at] ^= 1 << (at % 8)
        survives(bytes(file))


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data):
    with pytest.raises(ModelError):
        load(data)


# Files that are whole and say what cannot be


def changed(state: dict, **parts) -> bytes:
    """Write a state with other parts, as a stranger may, with everything else in order."""
    state = {**state, **parts}
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    rest = {key: value for key, value in state.items() if key not in arrays}
    buffer = io.BytesIO()
    np.savez(buffer, __json__=np.frombuffer(json.dumps(rest).encode(), np.uint8), **arrays)
    return buffer.getvalue()


STATE = taught(200, window=200).state()
LEARNING = taught(20, bins={"2": {"quantiles": 6}}).state()
NUMBERS = [-1, 10**19, -(10**19), 1.5, "1", None, True, [], {}, float("nan"), float("inf"), 2**62]


@pytest.mark.parametrize("key", ["length", "observed", "calibrate_at", "tick", "panes", "format"])
@pytest.mark.parametrize("value", NUMBERS, ids=str)
def test_numbers_that_cannot_be(key, value):
    survives(changed(STATE, **{key: value}))


@pytest.mark.parametrize(
    "key", ["options", "edges", "has_learned", "learning", "feedbacks", "weights", "scores_seen", "below"]
)
@pytest.mark.parametrize("value", [*NUMBERS, [[1]], [[0, [["a"]]]], {"0": [1.0]}, {"x": 1}, "x" * 9], ids=str)
@pytest.mark.parametrize("state", [STATE, LEARNING], ids=["window", "learning"])
def test_parts_that_cannot_be(state, key, value):
    survives(changed(state, **{key: value}))


ARRAYS = [key for key, value in STATE.items() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("key", ARRAYS)
def test_arrays_that_cannot_be(key):
    good = STATE[key]
    wrong = [good[:-1], good[:0], np.concatenate([good, good]), good.reshape(-1, 1), good.reshape(1, *good.shape)]
    wrong += [np.array(5), good.astype(np.float32), good.astype("U8"), good.astype(">i8"), good.astype(complex)]
    for value in wrong:
        with pytest.raises(ModelError):
            load(changed(STATE, **{key: value}))
    kind = good.dtype
    for value in (-1, 1, 31, 2**31 - 1, -(2**31), np.nan, np.inf, 1e300, 0.25):
        if kind.kind in "iu" and (
            not float(value).is_integer() or not np.can_cast(np.min_scalar_type(int(value)), kind)
        ):
            continue
        for row in (0, len(good) // 2, -1):
            damaged = good.copy()
            damaged[row] = value
            survives(changed(STATE, **{key: damaged}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("values", 1),  # a marker is no value
        ("values", 10**6),
        ("values", -1),
        ("counts", -1.0),
        ("counts", 0.0),
        ("counts", np.nan),
        ("counts", np.inf),
        ("counts", 1e300),
        ("last", -1),
        ("pane0.values", 10**6),
        ("pane0.counts", -5.0),
        ("hashes", 5),
        ("offsets", -1),
        ("offsets", 10**9),
        ("texts", 255),
        ("below", 2.0),
        ("below", np.nan),
        ("scores_seen", -1),
    ],
)
def test_values_that_would_lead_loops_astray_are_refused(key, value):
    damaged = STATE[key].copy()
    damaged[-1] = value
    with pytest.raises(ModelError):
        load(changed(STATE, **{key: damaged}))


def test_counts_may_not_add_up_to_more_than_can_be_counted():
    with pytest.raises(ModelError):
        load(changed(STATE, counts=np.full(len(STATE["counts"]), 2.0**51)))


@pytest.mark.parametrize(
    "feedback",
    [
        {"pattern": ["1"]},
        {"pattern": [1, None, None]},
        {"pattern": ["\ud800", None, None]},
        {"strength": "x"},
        {"strength": 2},
        {"strength": float("nan")},
        {"id": 5},
        {"id": ""},
        {"more": 1},
    ],
    ids=repr,
)
def test_feedback_that_cannot_be(feedback):
    document = {**STATE["feedbacks"][0], **feedback}
    with pytest.raises(ModelError):
        load(changed(STATE, feedbacks=[document]))


def test_json_that_is_nested_deeply_is_refused():
    buffer = io.BytesIO()
    np.savez(buffer, __json__=np.frombuffer(b"[" * 200_000 + b"]" * 200_000, np.uint8))
    with pytest.raises(ModelError):
        load(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez(buffer, __json__=np.frombuffer(b"[1, 2]", np.uint8))
    with pytest.raises(ModelError):
        load(buffer.getvalue())


def test_a_pickle_is_not_opened():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    buffer = io.BytesIO()
    np.savez(buffer, **{**{key: STATE[key] for key in ARRAYS}, "values": np.array([Bomb()], object)})
    with pytest.raises(ModelError):
        load(buffer.getvalue())


def test_a_small_file_that_would_fill_the_memory_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("values.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (2**28 + 2**20,)}
        )
        for _ in range(2**8 + 1):
            member.write(bytes(2**20))
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(ModelError, match="more than"):
        load(buffer.getvalue())


def test_a_failed_restore_leaves_what_was():
    model = taught()
    before = dump(model)
    with pytest.raises(ModelError):
        model.restore({**model.state(), "values": np.zeros((1, 1), np.int32)})
    assert dump(model) == before
