"""The parts of a kept context, checked: nothing that does not fit comes before a compiled loop."""

from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detector import State
from tocsin.detectors.novelty.bins import LEARN_AT
from tocsin.detectors.novelty.calibration import BINS, Calibration
from tocsin.detectors.novelty.fading import STEPS
from tocsin.detectors.novelty.feedback import Feedback
from tocsin.detectors.novelty.shape import MARKERS, OTHERS
from tocsin.detectors.novelty.tables import Leaves

MOST_WEIGHT = 2.0**52
"""The most that all observations of a context may weigh."""


def whole(state: State, key: str, least: int, most: int) -> int:
    """Return a whole number of a state. Raises ValueError when it is none, or out of bounds."""
    value = state[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{key}: {value!r} is no whole number from {least} to {most}")
    return value


def leaves_of(state: State, mark: str, length: int, size: int) -> Leaves:
    """Return the leaves that a state has. length: of an observation; size: how many values there are.

    Raises ValueError when they do not fit.
    """
    values, counts, last = (state[f"{mark}{part}"] for part in ("values", "counts", "last"))
    if (values.dtype, counts.dtype, last.dtype) != (np.int32, np.float64, np.int32):
        raise ValueError(f"{mark}values: observations, counts and times are of wrong types")
    if values.shape != (counts.size, length) or counts.ndim != 1 or last.shape != counts.shape:
        raise ValueError(f"{mark}values: observations, counts and times do not fit each other")
    if not (((values > MARKERS) & (values < size)) | (values == OTHERS)).all():
        raise ValueError(f"{mark}values: observations have values that are not there")
    if not (np.isfinite(counts) & (counts > 0)).all() or counts.sum() > MOST_WEIGHT or (last < 0).any():
        raise ValueError(f"{mark}counts: counts or times are out of bounds")
    return Leaves(np.ascontiguousarray(values), np.ascontiguousarray(counts), np.ascontiguousarray(last))


def panes_of(state: State, length: int, size: int, *, windowed: bool) -> list[Leaves]:
    """Return what each pane of a window holds. Raises ValueError when that does not fit."""
    panes = whole(state, "panes", 0, STEPS if windowed and length else 0)
    return [leaves_of(state, f"pane{number}.", length, size) for number in range(panes)]


def calibrations_of(state: State) -> tuple[Calibration, Calibration]:
    """Return the two calibrations. Raises ValueError when they do not fit."""
    below, weights = state["below"], np.array(state["weights"], np.float64)
    if below.dtype != np.float64 or below.shape != (2, BINS) or weights.shape != (2,):
        raise ValueError("below: the calibrations are not of the right size")
    if not ((below >= 0) & (below <= 1 + 1e-9)).all() or not ((weights >= 0) & (weights <= MOST_WEIGHT)).all():
        raise ValueError("below: the calibrations are out of bounds")
    first, second = (Calibration(below[at].copy(), float(weights[at])) for at in range(2))
    return first, second


def histogram_of(state: State, bins: int) -> np.ndarray:
    """Return how the scores lay. Raises ValueError when that does not fit."""
    seen: np.ndarray = state["scores_seen"]
    if seen.dtype != np.int64 or seen.shape != (bins,) or (seen < 0).any():
        raise ValueError("scores_seen: these are no counts of scores")
    return seen.copy()


def learning_of(state: State, length: int) -> list[tuple[int, list[pa.Array]]]:
    """Return what bins are learned from, in order, each part with its step. Raises ValueError when it does not fit."""
    parts = [(tick, [pa.array(column, pa.string()) for column in columns]) for tick, columns in state["learning"]]
    rows = 0
    for tick, columns in parts:
        if not isinstance(tick, int) or len(columns) != length or len({len(column) for column in columns}) != 1:
            raise ValueError("learning: observations do not fit")
        if any(column.null_count for column in columns):
            raise ValueError("learning: observations have no value")
        rows += len(columns[0])
    if rows > LEARN_AT[-1]:
        raise ValueError(f"learning: there are {rows} observations, at most {LEARN_AT[-1]} are kept")
    return parts


def feedbacks_of(documents: list[Any], length: int) -> dict[str, Feedback]:
    """Return the feedback that was given. Raises ValueError when it does not fit."""
    feedbacks = {each["id"]: Feedback.of(each) for each in documents}
    for each in feedbacks.values():
        said: tuple[Any, ...] = (each.id, each.by, each.note, *(part for part in each.pattern if part is not None))
        if len(each.pattern) != length or not all(isinstance(text, str) for text in said):
            raise ValueError(f"feedbacks: {each.id!r} does not fit observations of {length} components")
        if not all(isinstance(number, int | float) for number in (each.strength, each.at_us)):
            raise ValueError(f"feedbacks: {each.id!r} has no numbers where they belong")
        "".join(said).encode()  # not every text of JSON is one of Unicode
    return feedbacks
