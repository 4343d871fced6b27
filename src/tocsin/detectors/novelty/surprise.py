"""The score's equation.

A component i of an observation has a parent, what it is judged by: with `order: given` the components before it, with
`auto` nothing, and each other component. P is how often the parent was seen, c how often this component with it, both
counting this observation. Its novelty is log2(P / c) bits. But where everything is rare, as the addresses of a public
server's clients are, being rare is no news. So T says how much of what followed this parent was as rare as this, the
mass of its children of about this count or less, and damps the novelty there:

    s_i = min( log2(P / c), 3 log2(P / T) )

For what is new (c = 1) T is the number of children seen once: what Good and Turing expect the unseen to weigh. Where
half of all that comes is new, s_i is 3 bits at most; where one in a hundred is, 20; on a server that has seen two
clients for a year a third counts in full. The counts of siblings are known by classes (1, 2-3, 4-7 and so on by factors
of two), so T / P is an estimate; T holds what was seen up to about twice as often. With several parents a component's
surprise is the greatest. Components add up by their odds, so that the most novel one weighs most:

    raw   = log2( 1 + sum_i (2^s_i - 1) )              what the score says
    total = sum_i s_i                                  what totalObsScore says

and the score is the share of the context's own observations that surprise less (`calibration.py`).

The 3 was chosen among 1, 2, 3, 4 and 6 looking at labelled data, NSL-KDD foremost (see docs/novelty.md).
"""

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.calibration import Calibration
from tocsin.detectors.novelty.scores import Scores
from tocsin.detectors.novelty.tables import OF_ALL, RAW, SEEN, SUMMED, Judged

UNIQUE_UNTIL = 10_000
"""An observation seen so often is not unique at all."""


def calibrated(judged: Judged, left: np.ndarray | None, counts: np.ndarray) -> tuple[Calibration, Calibration]:
    """Return calibrations of raw and total surprise on known observations. counts: (n,) float64."""
    raw, total = _surprises(judged, left)
    return Calibration.of(raw, counts), Calibration.of(total, counts)


def scored(
    columns: list[pa.Array],
    judged: Judged,
    left: np.ndarray | None,
    by: tuple[Calibration, Calibration],
    sequence: np.ndarray,
    warm_up: int,
) -> Scores:
    """Return what is said of observations. left: the part of their surprise that feedback leaves, None for all of it.

    sequence: (n,) int64.
    """
    raw, total = _surprises(judged, left)
    seen = judged.sums[:, SEEN]
    probability = seen / judged.sums[:, OF_ALL]
    seen_log = np.log(np.clip(seen, 1.0, UNIQUE_UNTIL)) / np.log(UNIQUE_UNTIL)
    return Scores(
        columns=columns,
        sequence=sequence,
        score=by[0].score(raw, judged.sums[:, OF_ALL]),
        total_score=by[1].score(total, judged.sums[:, OF_ALL]),
        probability=probability,
        uniqueness=1.0 - seen_log**2,
        info_content=-np.log(probability) / np.log(2) + 0.0,
        raw=raw,
        bits=judged.bits,
        share=judged.share,
        most_novel=judged.most,
        warm=sequence >= warm_up,
        confidence=sequence / (sequence + max(warm_up, 1)),
    )


def _surprises(judged: Judged, left: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    raw, total = judged.sums[:, RAW], judged.sums[:, SUMMED]
    return (raw, total) if left is None else (raw * left, total * left)
