"""Speed and memory of summaries on one core: 10 million records over 1 million keys, in batches of 50,000.

    python bench/summary_speed.py [rows] [rounds] [what]

Moments (sum, count, min, max, average, variance) and `hll_unique` at 3 % error, through a worker with and without a
threshold and through its innermost parts, beside DuckDB's grouped aggregate on one thread over the same Arrow table,
and beside a dictionary of reducer objects. Address strings as keys. All in one run, by turns; the best round counts.
What: moments, addresses or distinct, only that part. Writes bench/results/summary_speed.json.
"""

import os

os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.accumulator import Values, accumulators
from tocsin.detectors.summary.condition import Condition, growing
from tocsin.detectors.summary.definition import Input, Reducer, Summary
from tocsin.detectors.summary.worker import Worker
from tocsin.kernels.index import KeyIndex
from tocsin.kernels.strings import hash_integers

KEYS = 1_000_000
BATCH = 50_000
DICTIONARY_ROWS = 500_000
MOMENTS = tuple(Reducer(kind, kind) for kind in ("sum", "count", "min", "max", "average", "variance"))
DISTINCT = (Reducer("hosts", "hll_unique", "peer", {"error": 0.03, "confidence": 0.68}),)
RESULTS = Path(__file__).parent / "results" / "summary_speed.json"


def records(rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, KEYS, rows)
    times = 1_700_000_000_000_000 + np.arange(rows)
    columns = {
        "ts": pa.array(times, pa.timestamp("us", "UTC")),
        "host": pa.array(keys),
        "bytes": pa.array(rng.exponential(1000.0, rows)),
        "peer": pa.array(rng.integers(0, 50_000, rows)),
        "address": addresses(keys),
        "ordinal": pa.array(np.arange(rows, dtype=np.uint64)),
    }
    return pa.table(columns)


def addresses(keys: np.ndarray) -> pa.Array:
    texts = [f"10.{key >> 16}.{key >> 8 & 255}.{key & 255}" for key in range(KEYS)]
    return pa.array(texts).take(pa.array(keys))


def summary(reducers: tuple[Reducer, ...], key: str, threshold: str = "") -> Summary:
    source = Input("event", "", {"key": key}, "bytes", "ts", reducers)
    kinds = {reducer.name: reducer.kind for reducer in reducers}
    condition = Condition(threshold, growing(threshold, kinds)) if threshold else None
    return Summary("bench", (source,), ("key",), 0, 0, condition=condition)


class Through:
    """What counts the batches; then says how many bytes a key it holds."""

    def __init__(self, batches: list[pa.Table]) -> None:
        self.batches = batches
        self.bytes_a_key = 0.0

    def worker(self, counted: Summary) -> None:
        worker = Worker([counted])
        for batch in self.batches:
            worker.observe("event", batch, batch["ordinal"].to_numpy())
        status = worker.status()["bench"]
        self.bytes_a_key = status["nbytes"] / status["keys"]

    def parts(self, reducers: tuple[Reducer, ...], values: Callable[[pa.Table], Values]) -> None:
        index, (state,) = KeyIndex(), accumulators(reducers)
        for batch in self.batches:
            slots, _ = index.slots(batch["host"].to_numpy().view(np.uint64))
            state.grow(len(index))
            state.add(slots, values(batch))
        self.bytes_a_key = (index.nbytes + state.nbytes) / len(index)


def numbers(batch: pa.Table) -> Values:
    return Values(batch["ts"].to_numpy().view(np.int64), NOTHING, number=batch["bytes"].to_numpy())


def hashes(batch: pa.Table) -> Values:
    return Values(batch["ts"].to_numpy().view(np.int64), NOTHING, hash=hash_integers(batch["peer"].to_numpy()))


NOTHING = np.empty(0, np.uint64)


class Reduced:
    """A key's reducer object, as a program in plain Python has it."""

    __slots__ = ("count", "least", "mean", "most", "squares", "total")

    def __init__(self) -> None:
        self.count, self.total, self.mean, self.squares = 0, 0.0, 0.0, 0.0
        self.least, self.most = float("inf"), float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        off = value - self.mean
        self.mean += off / self.count
        self.squares += off * (value - self.mean)


def dictionary(table: pa.Table) -> None:
    held: dict[int, Reduced] = {}
    for key, value in zip(table["host"].to_pylist(), table["bytes"].to_pylist(), strict=True):
        if key not in held:
            held[key] = Reduced()
        held[key].add(value)


def contestants(table: pa.Table, what: str) -> dict[str, tuple[int, Callable[[], float]]]:
    """Return for each: how many rows it counts, and what to run; that returns bytes a key, 0 where unknown."""
    rows = table.num_rows
    batches = [table.slice(start, BATCH).combine_chunks() for start in range(0, rows, BATCH)]
    database = duckdb.connect()
    database.execute("SET threads = 1")
    database.register("records", table)
    few = table.slice(0, DICTIONARY_ROWS)

    def ours(run: Callable[[Through], None]) -> Callable[[], float]:
        def timed() -> float:
            through = Through(batches)
            run(through)
            return through.bytes_a_key

        return timed

    def theirs(columns: str, key: str = "host") -> Callable[[], float]:
        def timed() -> float:
            database.sql(f"SELECT {key}, {columns} FROM records GROUP BY {key}").to_arrow_table()
            return 0.0

        return timed

    def plainly() -> float:
        dictionary(few)
        return 0.0

    moments = "sum(bytes), count(bytes), min(bytes), max(bytes), avg(bytes), var_samp(bytes)"
    distinct = "approx_count_distinct(peer)"
    never = "sum >= 1e15"
    every = {
        "moments: parts": (rows, ours(lambda through: through.parts(MOMENTS, numbers))),
        "moments: worker": (rows, ours(lambda through: through.worker(summary(MOMENTS, "host")))),
        "moments: worker, threshold": (rows, ours(lambda through: through.worker(summary(MOMENTS, "host", never)))),
        "moments: DuckDB": (rows, theirs(moments)),
        "moments: dictionary": (len(few), plainly),
        "addresses: worker": (rows, ours(lambda through: through.worker(summary(MOMENTS, "address")))),
        "addresses: DuckDB": (rows, theirs(moments, "address")),
        "distinct: parts": (rows, ours(lambda through: through.parts(DISTINCT, hashes))),
        "distinct: worker": (rows, ours(lambda through: through.worker(summary(DISTINCT, "host")))),
        "distinct: DuckDB": (rows, theirs(distinct)),
    }
    return {name: entry for name, entry in every.items() if name.startswith(what)}


def main() -> None:
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    what = sys.argv[3] if len(sys.argv) > 3 else ""
    pa.set_cpu_count(1)
    for _, run in contestants(records(2 * BATCH), what).values():
        run()
    best: dict[str, dict[str, float]] = {}
    entries = contestants(records(rows), what)
    for _ in range(rounds):
        for name, (counted, run) in entries.items():
            start = time.perf_counter()
            held = run()
            rate = counted / (time.perf_counter() - start) / 1e6
            if rate > best.get(name, {}).get("million_records_s", 0.0):
                best[name] = {"million_records_s": round(rate, 3), "bytes_a_key": round(held, 1)}
    tell(best)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": rows, "keys": KEYS, "batch": BATCH, "best_of": rounds, **best}, indent=2))


def tell(best: dict[str, dict[str, float]]) -> None:
    print(f"{'':30}{'M records/s':>12}{'bytes/key':>11}{'x DuckDB':>10}{'x dictionary':>14}")
    slow = best.get("moments: dictionary", {}).get("million_records_s", float("nan"))
    for name, found in best.items():
        rate, held = found["million_records_s"], found["bytes_a_key"]
        peer = best[f"{name.split(':')[0]}: DuckDB"]["million_records_s"]
        print(f"{name:30}{rate:12.2f}{held or '':>11}{rate / peer:10.2f}{rate / slow:14.1f}")


if __name__ == "__main__":
    main()
