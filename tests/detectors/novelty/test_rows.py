import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.rows import as_rows, picked
from tocsin.detectors.novelty.scores import Scores


def scores(count: int = 3, length: int = 2) -> Scores:
    rng = np.random.default_rng(0)
    columns = [pa.array([f"{row}-{index}" for row in range(count)], pa.string()) for index in range(length)]
    numbers = {
        name: rng.random(count)
        for name in ("score", "total_score", "probability", "uniqueness", "info_content", "raw", "confidence")
    }
    return Scores(
        columns,
        sequence=np.arange(7, 7 + count),
        bits=rng.random((count, length)),
        share=rng.random((count, length)),
        most_novel=rng.integers(0, length, count, dtype=np.int32),
        warm=np.arange(count) > 0,
        **numbers,
    )


def test_a_row_has_the_products_fields_and_ours():
    given = scores()
    row = as_rows(given)[1]
    most = int(given.most_novel[1])
    assert row == {
        "observation": ("1-0", "1-1"),
        "score": given.score[1],
        "totalObsScore": given.total_score[1],
        "sequence": 8,
        "probability": given.probability[1],
        "uniqueness": given.uniqueness[1],
        "infoContent": given.info_content[1],
        "mostNovelComponent": {"index": most, "value": f"1-{most}", "novelty": given.bits[1, most]},
        "components": tuple({"bits": given.bits[1, i], "share": given.share[1, i]} for i in (0, 1)),
        "warm": True,
        "confidence": given.confidence[1],
    }
    assert [type(row[name]) for name in ("score", "sequence", "warm")] == [float, int, bool]


def test_no_observation_is_no_row():
    assert as_rows(scores(0)) == []


def test_picked_rows_are_those_of_all():
    given = scores(10, 3)
    rows = np.array([2, 7])
    assert picked(given, rows) == [as_rows(given)[2], as_rows(given)[7]]
