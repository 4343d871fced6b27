"""Scores as rows: what a program or a person reads of each observation."""

from typing import Any

import numpy as np

from tocsin.detectors.novelty.scores import Scores

Row = dict[str, Any]


def as_rows(scores: Scores) -> list[Row]:
    """Return one JSON object an observation, in order, under the product's names; 1.3 µs each of five components."""
    count, length = scores.bits.shape
    parts = [
        {"bits": bits, "share": share}
        for bits, share in zip(scores.bits.ravel().tolist(), scores.share.ravel().tolist(), strict=True)
    ]
    novelty = scores.bits[np.arange(count), scores.most_novel].tolist() if length else []
    # Columns are walked side by side: a list of each, not a look into an array for each row.
    return [
        {
            "observation": observation,
            "score": score,
            "totalObsScore": total,
            "sequence": sequence,
            "probability": probability,
            "uniqueness": uniqueness,
            "infoContent": info,
            "mostNovelComponent": {"index": most, "value": observation[most], "novelty": bits},
            "components": components,
            "warm": warm,
            "confidence": confidence,
        }
        for observation, score, total, sequence, probability, uniqueness, info, most, bits, components, warm, confidence
        in zip(
            observed(scores),
            scores.score.tolist(),
            scores.total_score.tolist(),
            scores.sequence.tolist(),
            scores.probability.tolist(),
            scores.uniqueness.tolist(),
            scores.info_content.tolist(),
            scores.most_novel.tolist(),
            novelty,
            zip(*[iter(parts)] * length, strict=True),
            scores.warm.tolist(),
            scores.confidence.tolist(),
            strict=True,
        )
    ]  # fmt: skip


def observed(scores: Scores) -> list[tuple[str, ...]]:
    """Return the observations that scores are of, in order."""
    return list(zip(*(column.to_numpy(zero_copy_only=False).tolist() for column in scores.columns), strict=True))


def picked(scores: Scores, rows: np.ndarray) -> list[Row]:
    """Return the JSON objects of some rows only, by their positions: (m,) int64."""
    columns = [column.take(rows) for column in scores.columns]
    rest = {
        name: getattr(scores, name)[rows]
        for name in (
            *("sequence", "score", "total_score", "probability", "uniqueness", "info_content", "raw"),
            *("bits", "share", "most_novel", "warm", "confidence"),
        )
    }
    return as_rows(Scores(columns, **rest))
