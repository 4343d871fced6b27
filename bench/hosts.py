"""Claim: ten million flows of a day become host profiles in ≤ 25 s on two cores, in ≤ 1 GiB besides the batch read.

Run: python bench/hosts.py [millions]
"""

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tocsin.detectors.outlier.hosts import HostDetector
from tocsin.detectors.outlier.profiles import profile_day

ROWS = 500_000
DAY_US = 86_400_000_000
START_US = 1_700_006_400_000_000


def batch(seed: int, pool: pa.Array, ours: pa.Array, contacts: np.ndarray) -> pa.Table:
    """Make one batch: hosts go back to contacts of a fixed pool, some new ones between."""
    random = np.random.default_rng(seed)
    chosen = contacts[(random.pareto(0.9, ROWS) * 2_000).astype(np.int64) % contacts.shape[0]]
    fresh = random.random(ROWS) < 0.05
    far = np.where(fresh, random.integers(0, len(pool), ROWS), chosen[:, 1])
    return pa.table(
        {
            "stime": pa.array(START_US + random.integers(0, DAY_US, ROWS), pa.timestamp("us", tz="UTC")),
            "dur": pa.array(random.integers(0, 60_000, ROWS), pa.uint32()),
            "proto": pa.array(np.where(chosen[:, 2] == 53, "udp", "tcp")),
            "saddr": ours.take(pa.array(chosen[:, 0])),
            "daddr": pool.take(pa.array(far)),
            "sport": pa.array(random.integers(1024, 65_535, ROWS), pa.uint16()),
            "dport": pa.array(chosen[:, 2], pa.uint16()),
            "sbytes": pa.array(random.integers(60, 9_000, ROWS), pa.uint64()),
            "dbytes": pa.array(random.integers(0, 90_000, ROWS), pa.uint64()),
            "spkts": pa.array(random.integers(1, 30, ROWS), pa.uint64()),
            "dpkts": pa.array(random.integers(0, 60, ROWS), pa.uint64()),
        }
    )


def main(millions: int) -> None:
    random = np.random.default_rng(0)
    pool = pa.array(
        [f"{b}.{c}.{d}.{random.integers(1, 255)}" for b in range(11, 61) for c in range(0, 250, 5) for d in range(80)]
    )
    ours = pa.array([f"10.1.{c}.{d}" for c in range(16) for d in range(1, 251)])
    contacts = np.stack(
        [
            random.integers(0, len(ours), 1_500_000),
            (random.pareto(1.0, 1_500_000) * 500).astype(np.int64) % len(pool),
            random.choice([443, 80, 53, 22, 445, 993], 1_500_000),
        ],
        axis=1,
    )
    made = [0.0]

    def batches() -> Iterator[pa.Table]:
        for seed in range(millions * 1_000_000 // ROWS):
            begun = time.perf_counter()
            table = batch(seed, pool, ours, contacts)
            made[0] += time.perf_counter() - begun
            yield table

    profile_day([batch(0, pool, ours, contacts)])  # compiles the kernel
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    profile = profile_day(batches())
    wall = time.perf_counter() - begun - made[0]
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - made[0]
    begun = time.perf_counter()
    HostDetector().fit([]).score(profile)
    scored = time.perf_counter() - begun
    print(
        f"{millions} M flows: profile {wall:.1f} s wall, {cpu:.1f} s processor, making flows ({made[0]:.1f} s) left out"
    )
    print(f"{profile.num_rows} hosts scored in {scored:.2f} s; largest memory {after.ru_maxrss / 1024:.0f} MiB,")
    print(f"of which {before.ru_maxrss / 1024:.0f} MiB before the run")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
