"""Claims: ten million scores are calibrated in < 1 s; ten million scored flows become entities in < 20 s on two cores.

Run: python bench/verdict.py [millions]
"""

import resource
import sys
import time

import numpy as np
import pyarrow as pa

from tocsin.verdict.calibration import Calibration
from tocsin.verdict.entities import FlowEntities
from tocsin.verdict.severity import Cutoffs

ROWS = 500_000
HOME = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"]


def batch(random: np.random.Generator, attack: float) -> pa.Table:
    """Make scored flows of 5,000 hosts; a share of them is one host's attack."""
    ours = np.array([f"10.0.{n // 250}.{n % 250}" for n in range(5_000)])
    theirs = np.array([f"93.1.{n // 250}.{n % 250}" for n in range(50_000)])
    who, score = random.integers(0, len(ours), ROWS), random.random(ROWS) * 100
    is_attack = random.random(ROWS) < attack
    who[is_attack], score[is_attack] = 7, 99.995
    fields = pa.array(["dport", "sbytes", "dbytes", "spkts", "dur"])
    times = pa.array(np.sort(random.integers(0, 86_400_000_000, ROWS))).cast(pa.timestamp("us", "UTC"))
    columns = {
        "flowid": pa.array(np.arange(ROWS)).cast(pa.string()),
        "stime": times,
        "saddr": pa.array(ours[who]),
        "daddr": pa.array(theirs[random.integers(0, len(theirs), ROWS)]),
        "proto": pa.array(["tcp"] * ROWS),
        "raw": pa.array(score),
        "score": pa.array(score),
    }
    columns |= {name: pa.array(random.integers(0, 60_000, ROWS)) for name in fields.to_pylist()}
    for rank in (1, 2, 3):
        codes = pa.array(random.integers(0, len(fields), ROWS).astype(np.int16))
        columns[f"reason_{rank}"] = pa.DictionaryArray.from_arrays(codes, fields)
        columns[f"reason_{rank}_share"] = pa.array(random.random(ROWS).astype(np.float32) / 3)
    return pa.table(columns)


def main() -> None:
    """Measure and print."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    random = np.random.default_rng(0)
    raw = random.gamma(2.0, 3.0, int(millions * 1e6))
    wall, cpu = time.perf_counter(), time.process_time()
    calibration = Calibration.fit(raw)
    print(f"fit    {len(raw):>12,} scores: {time.perf_counter() - wall:.2f} s, cpu {time.process_time() - cpu:.2f} s")
    wall, cpu = time.perf_counter(), time.process_time()
    calibration.score(raw)
    print(f"score  {len(raw):>12,} scores: {time.perf_counter() - wall:.2f} s, cpu {time.process_time() - cpu:.2f} s")
    for attack in (0.0, 0.3):
        entities, wall, cpu = FlowEntities(Cutoffs(), HOME, str), 0.0, 0.0
        for _ in range(max(1, int(millions * 1e6 / ROWS))):
            table = batch(random, attack)
            began, began_cpu = time.perf_counter(), time.process_time()
            entities.add(table)
            wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - began_cpu
        began, began_cpu = time.perf_counter(), time.process_time()
        found = entities.candidates()
        wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - began_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"gather {millions:g} M flows, {attack:.0%} attack: {wall:.2f} s, cpu {cpu:.2f} s, peak {peak} MiB")
        print(f"       {len(found)} candidates; first: {found[0].title}")


if __name__ == "__main__":
    main()
