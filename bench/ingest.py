"""How fast, and in how much memory, `tocsin ingest` takes a Zeek conn.log into the lake.

    python bench/ingest.py [--rows 3000000] [--gz]

Writes a synthetic conn.log, ingests it in a fresh process into a folder store (community ids and zstd Parquet
included), and reads the same file with a plain per-line Python reader as the peer.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#open\t2025-01-01-00-00-00\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t"
    "conn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\t"
    "tunnel_parents\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tbool\t"
    "bool\tcount\tstring\tcount\tcount\tcount\tcount\tset[string]\n"
)
ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
SERVICES = [
    ("tcp", "ssl", 443),
    ("tcp", "http", 80),
    ("udp", "dns", 53),
    ("tcp", "ssh", 22),
    ("udp", "-", 123),
    ("tcp", "-", 8443),
]
ENDS = [("SF", "ShADadFf"), ("S0", "S"), ("REJ", "Sr"), ("RSTO", "ShADadR"), ("SF", "Dd"), ("OTH", "-")]
PART = 200_000


def write_log(path: Path, rows: int, seed: int = 7) -> None:
    """Write so many rows over six hours, seeded."""
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        file.write(HEADER)
        for start in range(0, rows, PART):
            file.write(_part(rng, start, min(PART, rows - start), rows))
        file.write("#close\t2025-01-01-06-00-00\n")


def _part(rng: np.random.Generator, start: int, count: int, rows: int) -> str:
    ts = 1735689600 + (start + np.arange(count)) * (21600 / rows) + rng.exponential(2, count)
    uids = ALPHABET[rng.integers(0, 62, (count, 17))].view("S17").ravel().astype(str)
    kinds, ends = rng.choice(6, count, p=[0.35, 0.15, 0.35, 0.02, 0.05, 0.08]), rng.choice(6, count)
    host, peer = rng.integers(1, 2000, count), rng.zipf(1.3, count) % 60000
    sport, duration = rng.integers(1024, 65536, count), rng.lognormal(-1, 2, count)
    sent, received = rng.lognormal(6, 2, count).astype(np.int64), rng.lognormal(7, 2.5, count).astype(np.int64)
    packets, answers = 1 + sent // 900, received // 1200
    lines = []
    for i in range(count):
        proto, service, port = SERVICES[kinds[i]]
        state, history = ENDS[ends[i]]
        timing = f"{duration[i]:.6f}\t{sent[i]}\t{received[i]}" if state != "OTH" else "-\t-\t-"
        lines.append(
            f"{ts[i]:.6f}\tC{uids[i]}\t10.{host[i] >> 8}.{host[i] & 255}.7\t{sport[i]}\t"
            f"93.{peer[i] >> 8}.{peer[i] & 255}.34\t{port}\t{proto}\t{service}\t{timing}\t{state}\tT\tF\t0\t{history}\t"
            f"{packets[i]}\t{sent[i] + 40 * packets[i]}\t{answers[i]}\t{received[i] + 40 * answers[i]}\t-\n"
        )
    return "".join(lines)


def ingest(path: Path, store: Path) -> dict[str, float]:
    """Ingest in a fresh process; its rate, processor seconds and peak memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--measure", str(path)]
    done = subprocess.run(
        command, env={**os.environ, "TOCSIN_STORE": str(store)}, capture_output=True, text=True, check=True
    )
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = json.loads(done.stdout.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**figures, "wall_with_start_s": wall, "cpu_with_start_s": cpu}


def measure(path: Path) -> None:
    """In the fresh process: ingest through the library, print the figures."""
    from tocsin.app import App
    from tocsin.jobs.ingest import ingest as run
    from tocsin.settings import load_settings

    app = App(load_settings())
    begin, cpu = time.perf_counter(), time.process_time()
    result = run(app.store, [path], domain=app.domain, settings=app.settings.ingest, clock=app.clock)
    figures = {
        "rows": result.rows,
        "wall_s": time.perf_counter() - begin,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))


def plain_reader(path: Path) -> tuple[int, float]:
    """Read into dicts line by line, as a short script would, without writing anything: rows and seconds."""
    begin = time.perf_counter()
    names: list[str] = []
    rows = 0
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        for line in file:
            if line.startswith("#"):
                if line.startswith("#fields"):
                    names = line.rstrip("\n").split("\t")[1:]
                continue
            record = dict(zip(names, line.rstrip("\n").split("\t"), strict=True))
            record["ts"] = float(record["ts"])
            for name in ("orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes", "id.orig_p", "id.resp_p"):
                record[name] = int(record[name])
            rows += 1
    return rows, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--gz", action="store_true")
    parser.add_argument("--measure", type=Path)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conn.log"
        write_log(path, arguments.rows)
        print(f"{arguments.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
        if arguments.gz:
            subprocess.run(["gzip", "-6", str(path)], check=True)
            path = path.with_suffix(".log.gz")
        warm = Path(folder) / "warm.log"
        write_log(warm, 1000)
        ingest(warm, Path(folder) / "warm-store")  # compiles the kernels once
        store = Path(folder) / "store"
        figures = ingest(path, store)
        size = sum(file.stat().st_size for file in store.rglob("*.parquet"))
        print(
            f"tocsin ingest: {figures['rows'] / figures['wall_s']:,.0f} rows/s wall, {figures['wall_s']:.2f} s "
            f"(with start {figures['wall_with_start_s']:.2f} s), CPU {figures['cpu_s']:.2f} s, "
            f"peak {figures['peak_mb']:.0f} MB, lake {size / 1e6:.0f} MB"
        )
        rows, seconds = plain_reader(path)
        print(f"plain per-line reader (reads only): {rows / seconds:,.0f} rows/s, {seconds:.2f} s")


if __name__ == "__main__":
    main()
