"""Rate and memory of categorical novelty on one core: 4 million observations of five heavy-tailed components.

    python bench/novelty_speed.py [observations] [rounds]

Observed in batches of 50,000 Arrow string columns, by one process, then by two with a context each; beside a tree of
Python dictionaries that only counts and takes logarithms, in the same run. `order: auto` besides. The best round
counts. Writes bench/results/novelty_speed.json.
"""

import os

os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options

BATCH = 50_000
TREE_ROWS = 200_000
AUTO_ROWS = 500_000
VALUES = (4, 12, 60, 2_000, 50_000)
"""How many values each component has; their frequencies fall as 1 / rank ** 1.3."""
RESULTS = Path(__file__).parent / "results" / "novelty_speed.json"


def observations(rows: int, seed: int = 0) -> list[pa.Array]:
    rng = np.random.default_rng(seed)
    return [texts(values).take(pa.array(ranks(rng, values, rows))) for values in VALUES]


def texts(values: int) -> pa.Array:
    return pa.array([f"value-{rank}" for rank in range(values)])


def ranks(rng: np.random.Generator, values: int, rows: int) -> np.ndarray:
    weights = np.cumsum(1.0 / np.arange(1, values + 1) ** 1.3)
    return np.searchsorted(weights, rng.random(rows) * weights[-1]).astype(np.int64)


def observe(columns: list[pa.Array], options: Options) -> tuple[float, NoveltyModel]:
    """Return the seconds that observing took, and the model."""
    model, rows = NoveltyModel(options), len(columns[0])
    begun = time.perf_counter()
    for start in range(0, rows, BATCH):
        model.observe([column.slice(start, BATCH) for column in columns])
    return time.perf_counter() - begun, model


def tree(columns: list[pa.Array]) -> float:
    """Count in a tree of dictionaries, and take each component's bits: the least that a plain program does."""
    rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
    root: dict = {}
    begun = time.perf_counter()
    for above, row in enumerate(rows, 1):
        node, most = root, 0.0
        for value in row:
            entry = node.get(value)
            if entry is None:
                entry = node[value] = [0, {}]
            entry[0] += 1
            most = max(most, math.log2(above / entry[0]))
            above, node = entry
    return time.perf_counter() - begun


def one_of(barrier: "multiprocessing.synchronize.Barrier", seed: int, rows: int) -> None:
    """Be one of several workers, each with its own context; ready at the first barrier, done at the second."""
    columns = observations(rows, seed)
    observe([column.slice(0, BATCH) for column in columns], Options())
    barrier.wait()
    observe(columns, Options(max_entries=100_000_000))
    barrier.wait()


def workers(count: int, rows: int) -> float:
    """Return the seconds that so many processes take for so many observations each, at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count + 1)
    processes = [context.Process(target=one_of, args=(barrier, seed, rows)) for seed in range(count)]
    for process in processes:
        process.start()
    barrier.wait()
    begun = time.perf_counter()
    barrier.wait()
    took = time.perf_counter() - begun
    for process in processes:
        process.join()
    return took


def best(rounds: int, took: Callable[[], float]) -> float:
    return min(took() for _ in range(rounds))


def main(rows: int, rounds: int) -> None:
    columns = observations(rows)
    wide = Options(max_entries=100_000_000)
    observe([column.slice(0, BATCH) for column in columns], wide)  # compiles
    auto = Options(order="auto", max_entries=100_000_000)
    few = [column.slice(0, min(rows, AUTO_ROWS)) for column in columns]
    observe([column.slice(0, BATCH) for column in few], auto)

    given_s = best(rounds, lambda: observe(columns, wide)[0])
    model = observe(columns, wide)[1]
    auto_s = best(rounds, lambda: observe(few, auto)[0])
    plain = [column.slice(0, min(rows, TREE_ROWS)) for column in columns]
    tree_s = best(rounds, lambda: tree(plain))
    one_s, two_s = best(rounds, lambda: workers(1, rows)), best(rounds, lambda: workers(2, rows))
    figures = {
        "observations": rows,
        "rate": rows / given_s,
        "rate_auto": len(few[0]) / auto_s,
        "rate_tree_of_dictionaries": len(plain[0]) / tree_s,
        "two_workers_times_one": 2 * one_s / two_s,
        "entries": model.entries,
        "bytes_an_entry": model.nbytes / model.entries,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"one core, {rows:,} observations of {len(VALUES)} components")
    print(f"  tocsin, order given     {figures['rate'] / 1e6:6.2f} M/s")
    print(f"  tocsin, order auto      {figures['rate_auto'] / 1e6:6.2f} M/s")
    print(f"  tree of dictionaries    {figures['rate_tree_of_dictionaries'] / 1e6:6.2f} M/s")
    print(f"  two workers / one       {figures['two_workers_times_one']:6.2f} x")
    print(f"  {figures['entries']:,} entries, {figures['bytes_an_entry']:.1f} bytes each, texts included")


if __name__ == "__main__":
    main(*(int(each) for each in (sys.argv[1:3] + ["4000000", "3"][len(sys.argv) - 1 :])))
