"""One suite over every registered batch detector: what its contract promises, whatever it finds."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detector import DETECTORS, BatchDetector, Scored, dump_state, load_class, load_state
from tocsin.errors import ModelError


@dataclass(frozen=True)
class Subject:
    """A way to make a detector, a table of normal rows for it, and one of other rows."""

    detector: str
    make: Callable[[], BatchDetector]
    normal: Callable[[], pa.Table]
    other: Callable[[], pa.Table]
    by_row: bool = True
    """A row's score depends on nothing but the row."""
    free_order: bool = True
    """The order of the rows learned from does not matter."""


def flows(seed: int, rows: int = 600) -> pa.Table:
    rng = np.random.default_rng(seed)
    sbytes = rng.lognormal(6, 1, rows).astype(np.int64)
    start = datetime.datetime(2024, 5, 6, tzinfo=datetime.UTC).timestamp()
    stime = ((start + np.sort(rng.uniform(0, 86_000, rows))) * 1e6).astype(np.int64)
    return pa.table(
        {
            "stime": pa.array(stime, pa.timestamp("us", "UTC")),
            "proto": pa.array(["tcp"] * rows),
            "saddr": pa.array([f"10.0.0.{i}" for i in rng.integers(1, 20, rows)]),
            "daddr": pa.array([f"198.51.{i}.7" for i in rng.integers(1, 6, rows)]),
            "sport": pa.array(rng.integers(1024, 65536, rows).astype(np.uint16)),
            "dport": pa.array(rng.choice([443, 80, 53], rows, p=[0.7, 0.2, 0.1]).astype(np.uint16)),
            "dur": pa.array(rng.exponential(800, rows).astype(np.uint32)),
            "sbytes": pa.array(sbytes.astype(np.uint64)),
            "dbytes": pa.array(np.where(rng.random(rows) < 0.3, 0, sbytes * 3).astype(np.uint64)),
            "spkts": pa.array((sbytes // 400 + 1).astype(np.uint64)),
            "dpkts": pa.array((sbytes // 200 + 1).astype(np.uint64)),
            "sentropy": pa.array([None if x < 0.2 else int(x * 255) for x in rng.random(rows)], pa.uint8()),
            "conn_state": pa.array(rng.choice(["SF", "S0", "REJ"], rows, p=[0.9, 0.06, 0.04])),
        }
    )


def profiles(seed: int) -> pa.Table:
    from tocsin.detectors.outlier.profiles import profile_day

    return profile_day([flows(seed)])


def outlier(algorithm: str) -> Callable[[], BatchDetector]:
    return lambda: load_class(DETECTORS, "outlier")(algorithm)


SUBJECTS = {
    "outlier-hbos": Subject("outlier", outlier("hbos"), lambda: flows(1), lambda: flows(2)),
    "outlier-iforest": Subject("outlier", outlier("iforest"), lambda: flows(1), lambda: flows(2), free_order=False),
    "outlier-autoencoder": Subject(
        "outlier", outlier("autoencoder"), lambda: flows(1), lambda: flows(2), free_order=False
    ),
    "outlier-hybrid": Subject("outlier", outlier("hybrid"), lambda: flows(1), lambda: flows(2)),
    # A host is seen beside the other hosts of its day.
    "hosts": Subject(
        "hosts",
        lambda: load_class(DETECTORS, "hosts")(),
        lambda: profiles(1),
        lambda: profiles(2),
        by_row=False,
        free_order=False,
    ),
}


def test_every_registered_detector_is_a_subject():
    assert set(DETECTORS) == {subject.detector for subject in SUBJECTS.values()}


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture(scope="module")
def other(subject: Subject) -> pa.Table:
    return subject.other()


@pytest.fixture(scope="module")
def fitted(subject: Subject) -> BatchDetector:
    return subject.make().fit([subject.normal()])


def same(one: Scored, two: Scored) -> bool:
    return (
        one.fields == two.fields
        and np.array_equal(one.raw, two.raw)
        and np.array_equal(one.reason_field, two.reason_field)
        and np.array_equal(one.reason_share, two.reason_share)
    )


def test_it_says_what_it_is(subject, fitted):
    assert fitted.name == subject.detector
    assert isinstance(fitted.format, int)


def test_every_row_gets_a_finite_score_and_reasons_that_exist(fitted, other):
    scored = fitted.score(other)
    n = other.num_rows
    assert scored.raw.shape == (n,)
    assert scored.raw.dtype == np.float64
    assert np.isfinite(scored.raw).all()
    assert scored.reason_field.shape == scored.reason_share.shape
    assert len(scored.reason_field) == n
    assert scored.reason_field.dtype == np.int16
    assert scored.reason_share.dtype == np.float32
    assert ((scored.reason_field >= -1) & (scored.reason_field < len(scored.fields))).all()


def test_shares_are_shares_in_order(fitted, other):
    scored = fitted.score(other)
    share, field = scored.reason_share.astype(np.float64), scored.reason_field
    assert ((share >= 0) & (share <= 1 + 1e-6)).all()
    assert (share.sum(axis=1) <= 1 + 1e-5).all()
    assert (np.diff(share, axis=1) <= 1e-4).all()
    assert (share[field < 0] == 0).all()
    for row in field:
        named = row[row >= 0]
        assert len(set(named)) == len(named)


def test_score_learns_nothing(fitted, other):
    before = dump_state(fitted.state())
    first, second = fitted.score(other), fitted.score(other)
    assert same(first, second)
    assert dump_state(fitted.state()) == before


def test_a_restored_detector_scores_the_same(subject, fitted, other):
    data = dump_state(fitted.state())
    restored = subject.make().restore(load_state(data))
    assert same(fitted.score(other), restored.score(other))
    assert dump_state(restored.state()) == data
    for name in fitted.score(other).fields:
        assert restored.expected(name) == fitted.expected(name)


def test_the_state_holds_no_objects(fitted):
    state = fitted.state()
    assert state["format"] == fitted.format
    assert not any(isinstance(value, np.ndarray) and value.dtype == object for value in state.values())
    assert b"pickle" not in dump_state(state)


def test_a_state_of_another_format_is_refused(subject, fitted):
    with pytest.raises(ModelError):
        subject.make().restore({**fitted.state(), "format": 999})
    with pytest.raises(ModelError):
        subject.make().restore({"format": fitted.format})


def test_splitting_the_batch_changes_no_score(subject, fitted, other):
    if not subject.by_row:
        pytest.skip("its rows are compared with each other")
    whole = fitted.score(other)
    parts = [fitted.score(other.slice(start, 97)) for start in range(0, other.num_rows, 97)]
    assert np.array_equal(whole.raw, np.concatenate([part.raw for part in parts]))
    assert np.array_equal(whole.reason_field, np.concatenate([part.reason_field for part in parts]))
    assert np.array_equal(whole.reason_share, np.concatenate([part.reason_share for part in parts]))


def test_learning_in_other_batches_changes_no_score(subject, fitted, other):
    if not subject.by_row:
        pytest.skip("a batch of it is a day")
    normal = subject.normal()
    split = subject.make().fit(normal.slice(start, 111) for start in range(0, normal.num_rows, 111))
    assert same(fitted.score(other), split.score(other))


def test_learning_in_another_order_changes_no_score(subject, fitted, other):
    if not subject.free_order:
        pytest.skip("its learning is random or by day")
    normal = subject.normal()
    order = np.random.default_rng(0).permutation(normal.num_rows)
    shuffled = subject.make().fit([normal.take(pa.array(order))])
    assert np.allclose(fitted.score(other).raw, shuffled.score(other).raw, atol=1e-3)


def test_an_empty_batch_has_no_scores(fitted, other):
    scored = fitted.score(other.slice(0, 0))
    assert scored.raw.shape == (0,)
    assert len(scored.reason_field) == 0


def test_every_reason_can_be_told(fitted, other):
    scored = fitted.score(other)
    for at in np.unique(scored.reason_field[scored.reason_field >= 0]):
        assert fitted.expected(scored.fields[at])
