"""A day of generated flows through sample, extract, rank, train and score: seconds and peak memory of each command.

    python bench/pipeline.py --flows 10000000 --days 1
    python bench/pipeline.py --flows 10000000 --days 10 --keep /tmp/lake

Each stage is a process of its own, as a user would start it; memory is the largest resident set of the stage.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(config: Path, *arguments: str) -> tuple[float, float, int]:
    """Return wall seconds, CPU seconds and peak KiB of one tocsin command."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "-c", str(config), *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"tocsin {' '.join(arguments)} failed with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=10_000_000, help="flows a day")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="use (and keep) this folder; its lake is not generated again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "bench.yaml"
        config.write_text(f"store: {folder}/store\nsampling: {{retention_days: 10}}\nfeatures: {{sample_days: 10}}\n")
        if not (folder / "store/default/v2").exists():
            wall, cpu, _ = run(
                config,
                "generate",
                "--start",
                "2025-01-07",
                "--days",
                str(options.days),
                "--flows-per-day",
                str(options.flows),
            )
            print(f"generate  {wall:7.1f} s  {cpu:7.1f} s CPU   (not counted)", flush=True)
        total = 0.0
        for stage in ("sample", "extract", "rank", "train", "score"):
            wall, cpu, peak = run(config, stage)
            total += wall
            print(f"{stage:9} {wall:7.1f} s  {cpu:7.1f} s CPU  {peak / 2**20:6.2f} GiB", flush=True)
        print(f"total     {total:7.1f} s for {options.days} × {options.flows:,} flows")


if __name__ == "__main__":
    main()
