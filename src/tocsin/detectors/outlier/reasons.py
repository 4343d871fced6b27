"""Reasons from parts: which fields made a score, and what share of it."""

import numpy as np


def top_parts(parts: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest positive parts of each row, in order, equal ones by position.

    parts: (n, d) float. Returns field (n, top) int16, -1 where fewer are positive, and share (n, top) float32 of the
    sum of the row's positive parts.
    """
    positive = np.maximum(np.nan_to_num(parts), 0)
    kept = min(top, parts.shape[1])
    order = np.argsort(-positive, axis=1, kind="stable")[:, :kept]
    best = np.take_along_axis(positive, order, axis=1)
    field = np.full((len(parts), top), -1, np.int16)
    share = np.zeros((len(parts), top), np.float32)
    total = positive.sum(axis=1, keepdims=True)
    field[:, :kept] = np.where(best > 0, order, -1)
    share[:, :kept] = best / np.where(total > 0, total, 1)
    return field, share
