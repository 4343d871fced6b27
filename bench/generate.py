"""How fast labelled traffic is generated, alone and with Parquet writing, and in how much memory.

    python bench/generate.py [--flows-per-day 10000000] [--days 1] [--workers 2]

Also the kernels it stands on: hashing text, reading addresses, Community IDs; rows a second of one core.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from tocsin.kernels.addresses import ipv4_text, parse_addresses
from tocsin.kernels.strings import hash_integers, hash_strings
from tocsin.records.community_id import community_ids
from tocsin.records.traffic.days import generate_days
from tocsin.records.traffic.files import parquet_bytes

MONDAY = date(2024, 3, 4)


@contextmanager
def timed(what: str, rows: list[int]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    million = sum(rows) / 1e6
    speed = f"{million / wall:>8.2f} M/s wall {million / cpu:>8.2f} M/s of CPU"
    print(f"{what:<34}{million:>8.2f} M rows {wall:>8.2f} s {speed}")


def kernels(rows: int = 2_000_000) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**32, (2, rows), dtype=np.uint32)
    ports = rng.integers(0, 2**16, (2, rows)).astype(np.uint16)
    saddr, daddr = ipv4_text(numbers[0]), ipv4_text(numbers[1])
    proto = pa.array(["tcp", "udp"]).take(pa.array(rng.integers(0, 2, rows)))
    six = pa.array([f"2001:db8:{n & 0xFFFF:x}::{n >> 16:x}" for n in numbers[0, :200_000].tolist()])
    jobs = {
        "hash_strings, 7 to 15 bytes": lambda: hash_strings(saddr),
        "hash_integers": lambda: hash_integers(numbers[0]),
        "parse_addresses, IPv4": lambda: parse_addresses(saddr),
        "parse_addresses, IPv6": lambda: parse_addresses(six),
        "community_ids, from text": lambda: community_ids(proto, saddr, daddr, ports[0], ports[1]),
    }
    for what, job in jobs.items():
        job()
        with timed(what, [200_000 if "IPv6" in what else rows]):
            job()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows-per-day", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    options = vars(parser.parse_args())
    kernels()
    days = options.pop("days")
    list(generate_days(MONDAY, 1, flows_per_day=1000))
    rows: list[int] = []
    with timed("generate", rows):
        rows += [table.num_rows for _, table in generate_days(MONDAY, days, **options)]
    print(f"peak memory of the process: {_peak_mib():.0f} MiB")
    rows, size = [], 0
    with timed("generate and write Parquet", rows), tempfile.TemporaryDirectory() as folder:
        for index, (_, table) in enumerate(generate_days(MONDAY, days, **options)):
            data = parquet_bytes(table)
            (Path(folder) / f"{index}.parquet").write_bytes(data)
            rows.append(table.num_rows)
            size += len(data)
    print(f"{size / max(1, sum(rows)):.0f} bytes a flow; peak memory of the process: {_peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
