"""Speed of the table detector on 1 million rows of 38 fields, beside PyOD's HBOS in the same run.

    python bench/outlier_speed.py [rows]

Prints wall and processor time, the best of three; the first call, which may compile, is not counted.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyod.models.hbos import HBOS

from tocsin.detectors.outlier import OutlierDetector

FIELDS = 38


def mixed(rows: int) -> np.ndarray:
    """Return columns as flows have them: normal, long-tailed, mostly zero, small whole numbers, rates."""
    rng = np.random.default_rng(0)
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: rng.standard_normal(rows),
        lambda: rng.lognormal(6, 2, rows),
        lambda: rng.lognormal(3, 1, rows) * (rng.random(rows) < 0.1),
        lambda: rng.integers(0, 256, rows).astype(float),
        lambda: rng.integers(0, 101, rows) / 100,
    ]
    return np.stack([kinds[i % len(kinds)]() for i in range(FIELDS)])


def best(run: Callable[[], object]) -> tuple[float, float]:
    run()
    times = []
    for _ in range(3):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(times)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    columns = mixed(rows)
    table = pa.table({f"f{i:02}": column for i, column in enumerate(columns)})
    matrix = np.ascontiguousarray(columns.T)
    peer = HBOS().fit(matrix[: rows // 10])
    ours = OutlierDetector().fit([table])
    slow = best(lambda: peer.decision_function(matrix))
    print(f"{'':36}{'wall s':>9}{'cpu s':>9}{'M rows/s':>10}{'times PyOD':>12}")

    def tell(what: str, took: tuple[float, float], *, compared: bool = True) -> None:
        times = f"{slow[0] / took[0]:12.1f}" if compared else ""
        print(f"{what:36}{took[0]:9.3f}{took[1]:9.3f}{rows / took[0] / 1e6:10.2f}{times}", flush=True)

    tell("PyOD HBOS decision_function", slow)
    for threads in (1, 2):
        for reasons in (0, 3):
            ours.threads, ours.top_reasons = threads, reasons
            tell(f"score, {reasons} reasons, {threads} threads", best(lambda: ours.score(table)))
    tell("fit, one pass", best(lambda: OutlierDetector().fit([table])), compared=False)


if __name__ == "__main__":
    main()
