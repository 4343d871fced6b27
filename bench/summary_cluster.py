"""Summaries in several processes: how much faster two workers are than one, and how soon a crossing is known.

    python bench/summary_cluster.py               both, as they stand
    python bench/summary_cluster.py scale [--rows 10000000] [--keys 1000000]
    python bench/summary_cluster.py latency [--workers 8] [--rate 200000] [--seconds 15]

scale: moments of integer keys. Each worker reads its own share from a memory-mapped Arrow file, as a partition of a
queue would be, in batches of 50,000; until two mergers have put the final results together. The peer is one worker,
run the same way. Shares are dealt at random, or by key as a queue with keys deals them. Where other programs take
processors, the processor time of the slowest process says more than the clock.

latency: records offered to the engine at a rate, among them keys that reach a threshold at known moments; from handing
over the batch that holds the crossing record until the crossing comes out. Also what the workers sent for it.
"""

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cluster.processes import ProcessEngine
from tocsin.cluster.wire import Frame, Reader, buffers, pack, unpack
from tocsin.detectors.summary.definition import SECOND_US
from tocsin.detectors.summary.merger import Merger
from tocsin.detectors.summary.messages import Output, Partial, Progress
from tocsin.detectors.summary.worker import Worker
from tocsin.testing.summaries import TIMESTAMP, a_summary

BATCH = 50_000
MERGERS = 2
BEGIN_US = 1_735_689_600 * SECOND_US
MOMENTS = a_summary(
    {each: each for each in ("sum", "count", "min", "max", "average", "variance")}, window_s=86_400, max_keys=4_000_000
)


def a_batch(hosts: np.ndarray, values: np.ndarray, times_us: np.ndarray) -> pa.Table:
    return pa.table({"host": hosts, "value": values, "ts": pa.array(times_us).cast(TIMESTAMP)})


# How much faster two are than one


def scale(rows: int, keys: int) -> None:
    rng = np.random.default_rng(5)
    hosts, values = rng.integers(0, keys, rows), rng.normal(100, 20, rows)
    times = BEGIN_US + np.arange(rows) * (3600 * SECOND_US // rows)
    print(f"{rows:,} records, {keys:,} integer keys, moments, batches of {BATCH:,}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for dealt in ("at random", "by key"):
            seconds = {}
            for workers in (1, 2):
                which = rng.integers(0, workers, rows) if dealt == "at random" else hosts % workers
                paths = []
                for worker in range(workers):
                    mine = np.flatnonzero(which == worker)
                    paths.append(Path(folder) / f"{dealt}-{workers}-{worker}.arrow")
                    write(paths[-1], a_batch(hosts[mine], values[mine], times[mine]))
                seconds[workers] = min((run_scale(paths, rows) for _ in range(5)), key=lambda each: each["wall"])
                each = seconds[workers]
                print(
                    f"dealt {dealt}, {workers} worker(s): {each['wall']:.2f} s, {rows / each['wall'] / 1e6:.2f} M/s; "
                    f"CPU of workers {each['workers']:.2f} s (slowest observing {each['observe']:.2f}), "
                    f"of mergers {each['mergers']:.2f} s"
                )
            one, two = seconds[1], seconds[2]
            print(
                f"dealt {dealt}: two are {one['wall'] / two['wall']:.2f} x one by the clock; by processor time of the "
                f"slowest, {one['observe'] / two['observe']:.2f} x observing, {one['longest'] / two['longest']:.2f} x "
                f"with merging"
            )


def write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH)


def run_scale(paths: list[Path], rows: int) -> dict[str, float]:
    """Run workers and mergers once; seconds of wall clock, and of processors by role."""
    pairs = [[socket.socketpair() for _ in range(MERGERS)] for _ in paths]
    started = [part(["worker", number, len(paths), path], [pair[0] for pair in pairs[number]])
               for number, path in enumerate(paths)]  # fmt: skip
    mergers = [part(["merger", number, len(paths), ""], [pair[number][1] for pair in pairs])
               for number in range(MERGERS)]  # fmt: skip
    for pair in (each for row in pairs for each in row):
        pair[0].close(), pair[1].close()
    for process in started + mergers:
        assert read_line(process) == {"ready": True}
    begin = time.perf_counter()
    for process in started + mergers:
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [read_line(process) for process in started + mergers]
    wall = time.perf_counter() - begin
    for process in started + mergers:
        process.wait()
        process.stdin.close(), process.stdout.close()
    assert sum(each.get("records", 0) for each in done) == rows * 1.0
    cpu = [each["cpu"] for each in done]
    workers, merging = cpu[: len(started)], cpu[len(started) :]
    observe = max(each["observe"] for each in done[: len(started)])
    longest = max(workers) + max(merging)
    return {"wall": wall, "workers": sum(workers), "mergers": sum(merging), "observe": observe, "longest": longest}


def part(command: list[object], ends: list[socket.socket]) -> subprocess.Popen[str]:
    fds = [end.fileno() for end in ends]
    command = [sys.executable, __file__, "part", *command, json.dumps(fds)]
    return subprocess.Popen(
        [str(each) for each in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=fds
    )


def read_line(process: subprocess.Popen[str]) -> dict[str, float]:
    return json.loads(process.stdout.readline())


def run_part(role: str, number: int, workers: int, path: str, fds: list[int]) -> None:
    """Be one worker or merger of `scale`."""
    pa.set_cpu_count(1)
    ends = [socket.socket(fileno=fd) for fd in fds]
    warm_up()
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    told = work(number, workers, path, ends) if role == "worker" else merge(number, workers, ends)
    print(json.dumps({**told, "cpu": time.process_time() - cpu}), flush=True)


def warm_up() -> None:
    """Load every kernel."""
    worker, merger = Worker([MOMENTS], workers=2), Merger([MOMENTS], workers=1)
    for _ in range(2):
        worker.observe("event", batches_of(a_batch(np.arange(9), np.ones(9), np.full(9, BEGIN_US)))[0], ordinals(9))
    for message in worker.finish():
        merger.receive(message, 0.0)


def batches_of(table: pa.Table) -> list[pa.Table]:
    """Return a table as it comes out of a file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return [pa.Table.from_batches([pa.ipc.open_file(sink.getvalue()).get_batch(0)])]


def ordinals(count: int, begin: int = 0) -> np.ndarray:
    return np.arange(begin, begin + count, dtype=np.uint64)


def work(number: int, workers: int, path: str, ends: list[socket.socket]) -> dict[str, float]:
    worker = Worker([MOMENTS], worker=number, workers=workers, mergers=MERGERS)
    begin, at = time.process_time(), number << 40
    with pa.memory_map(path) as source:
        file = pa.ipc.open_file(source)
        for index in range(file.num_record_batches):
            batch = pa.Table.from_batches([file.get_batch(index)])
            for message in worker.observe("event", batch, ordinals(len(batch), at)):
                send(ends, message)
            at += len(batch)
    observe = time.process_time() - begin
    for message in worker.finish():
        send(ends, message)
    for end in ends:
        end.shutdown(socket.SHUT_WR)
    return {"observe": observe}


def send(ends: list[socket.socket], message: Partial | Progress) -> None:
    for each in buffers(pack(message, kind=type(message).__name__)):
        ends[message.merger].sendall(each)


def merge(number: int, workers: int, ends: list[socket.socket]) -> dict[str, float]:
    merger, output, selector = Merger([MOMENTS], merger=number, workers=workers), Output(), selectors.DefaultSelector()
    for end in ends:
        selector.register(end, selectors.EVENT_READ, Reader())
    while selector.get_map():
        for key, _ in selector.select():
            try:
                for each in key.data.receive(key.fileobj):
                    kind = {"Partial": Partial, "Progress": Progress}[each.head["kind"]]
                    output.extend(merger.receive(unpack(kind, each), 0.0))
            except EOFError:
                selector.unregister(key.fileobj)
    return {"records": sum(pc.sum(each.table.column("count")).as_py() or 0 for each in output.results)}


# How soon a crossing is known


def latency(workers: int, rate: int, seconds: float, batch: int, planted: int, goal: int) -> None:
    rng = np.random.default_rng(11)
    hosts = plant(rng, int(rate * seconds), planted, goal)
    values, times = np.ones(len(hosts)), BEGIN_US + np.arange(len(hosts)) * SECOND_US // rate
    reached = crossing_rows(hosts, planted, goal)
    summary = a_summary({"n": "count"}, f"n >= {goal}", window_s=86_400)
    engine = ProcessEngine([summary], workers=workers)
    sent = count_partials(engine)
    try:
        settle(engine, workers, batch)
        sent.clear()
        handed, came, behind_s = {}, {}, 0.0
        begin = time.perf_counter()
        for start in range(0, len(hosts), batch):
            due = begin + (start + batch) / rate
            take(engine.poll(max(0.0, due - time.perf_counter())), came)
            while (left := due - time.perf_counter()) > 0:
                take(engine.poll(left), came)
            piece = a_batch(hosts[start : start + batch], values[start : start + batch], times[start : start + batch])
            handed[start // batch] = time.perf_counter()
            behind_s = max(behind_s, handed[start // batch] - due)
            take(engine.observe("event", piece, ordinals(len(piece), start)), came)
        until = time.perf_counter() + 60
        while len(came) < len(reached) and time.perf_counter() < until:
            take(engine.poll(0.05), came)
        delayed = engine.status()[0].counts["delayed"]
    finally:
        engine.close()
    assert came.keys() == reached.keys(), f"{len(came)} of {len(reached)} crossings came"
    late = np.sort([came[host] - handed[row // batch] for host, row in reached.items()]) * 1000
    print(
        f"{workers} workers, {rate:,} records/s in batches of {batch:,}, {len(reached)} keys reaching {goal} "
        f"({os.cpu_count()} cores): median {np.median(late):.1f} ms, p99 {late[int(len(late) * 0.99)]:.1f} ms, "
        f"max {late[-1]:.1f} ms; offered at most {behind_s * 1000:.0f} ms behind, {delayed:,} records delayed"
    )
    w = workers
    bound = 2 * w * (np.log2(goal / (2 * w)) + 2)
    hot = [sent["rows", host] for host in reached]
    print(
        f"early partials: {sent['frames']:,} with {sent['rows']:,} keys for {len(hosts):,} records; of a crossing key "
        f"{np.mean(hot):.1f} on average, {max(hot)} at most (bound {bound:.0f})"
    )


def plant(rng: np.random.Generator, rows: int, planted: int, goal: int) -> np.ndarray:
    """Return keys: many that stay low, and the first few, each of which grows past the goal at some moment."""
    hosts = planted + rng.integers(0, max(rows * 4 // goal, 1000), rows)
    taken = np.zeros(rows, bool)
    for host in range(planted):
        begin = int(rng.uniform(0.02, 0.75) * rows)
        spread = int(rng.uniform(0.02, 0.2) * rows)
        where = begin + rng.choice(spread, int(goal * rng.uniform(1.05, 1.3)), replace=False)
        hosts[where[~taken[where]]] = host
        taken[where] = True
    return hosts


def crossing_rows(hosts: np.ndarray, planted: int, goal: int) -> dict[int, int]:
    """Return for each key that reaches the goal the row at which it does."""
    found = {host: np.flatnonzero(hosts == host) for host in range(planted)}
    return {host: int(rows[goal - 1]) for host, rows in found.items() if len(rows) >= goal}


def count_partials(engine: ProcessEngine) -> Counter:
    """Count what passes from workers to mergers: frames, keys, and each key."""
    sent: Counter = Counter()
    receive = engine._crew._receive

    def counting(child: object, given: Frame) -> None:
        if given.head.get("do") == "partial":
            hosts = given.part("table").column("part.host").to_pylist()
            sent["frames"] += 1
            sent["rows"] += len(hosts)
            sent.update(("rows", int(host)) for host in hosts)
        receive(child, given)

    engine._crew._receive = counting
    return sent


def settle(engine: ProcessEngine, workers: int, batch: int) -> None:
    """Let every process load its kernels, with keys of their own."""
    for turn in range(20 * workers):
        hosts = np.full(batch, -1 - turn // workers, np.int64)
        engine.observe("event", a_batch(hosts, np.ones(batch), np.full(batch, BEGIN_US)), ordinals(batch, 1 << 50))
    engine.status()
    until = time.perf_counter() + 1
    while time.perf_counter() < until:
        engine.poll(0.1)


def take(output: Output, came: dict[int, float]) -> None:
    now = time.perf_counter()
    for crossing in output.crossings:
        if (host := int(crossing.key["host"])) >= 0:
            assert host not in came
            came[host] = now


def read_arguments(argv: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="kind", required=True)
    scaling = kinds.add_parser("scale")
    scaling.add_argument("--rows", type=int, default=10_000_000)
    scaling.add_argument("--keys", type=int, default=1_000_000)
    waiting = kinds.add_parser("latency")
    waiting.add_argument("--workers", type=int, default=8)
    waiting.add_argument("--rate", type=int, default=200_000)
    waiting.add_argument("--seconds", type=float, default=15)
    waiting.add_argument("--batch", type=int, default=4_000)
    waiting.add_argument("--planted", type=int, default=300)
    waiting.add_argument("--goal", type=int, default=300)
    return vars(parser.parse_args(argv))


def main() -> None:
    if sys.argv[1:2] == ["part"]:
        role, number, workers, path, fds = sys.argv[2:]
        run_part(role, int(number), int(workers), path, json.loads(fds))
        return
    for words in [sys.argv[1:]] if sys.argv[1:] else [["latency"], ["scale"]]:
        given = read_arguments(words)
        {"scale": scale, "latency": latency}[given.pop("kind")](**given)


if __name__ == "__main__":
    main()
