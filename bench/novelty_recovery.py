"""Start-up after kill -9: five components, heavy-tailed values, a thousand observations a request, each committed.

    python bench/novelty_recovery.py [observations] [folder]

A process observes, then kills itself while its last checkpoint is being written, which is when most must be replayed.
Another one starts: the time to open the folder, and from its first instruction to the first answer. Prints both, the
rate at which they were learned and written, and writes bench/results/novelty_recovery.json.
"""

import os

os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REQUEST = 1000
BLOCK = 1_000_000
KINDS = (4, 60, 1000, 20_000, 400_000)
RESULTS = Path(__file__).parent / "results" / "novelty_recovery.json"


def block(number: int):
    """A million observations: (5,) columns of strings, whose values are the rarer the higher their number."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(number)
    drawn = [np.minimum(rng.pareto(0.9, BLOCK) * kinds / 500, kinds - 1).astype(np.int64) for kinds in KINDS]
    return [
        pa.array([f"value-{value}" for value in range(kinds)]).take(pa.array(each))
        for kinds, each in zip(KINDS, drawn, strict=True)
    ]


def observe(folder: Path, count: int) -> None:
    from tocsin.jobs.contexts import Contexts

    contexts, taken, longest = Contexts.open(folder), 0.0, 0.0
    for number in range(count // BLOCK):
        columns = block(number)
        start = time.perf_counter()
        for at in range(0, BLOCK, REQUEST):
            begun = time.perf_counter()
            contexts.observe("bench", [column.slice(at, REQUEST) for column in columns])
            contexts.commit()
            longest = max(longest, time.perf_counter() - begun)
        taken += time.perf_counter() - start
    status = contexts.status("bench")
    told = {"observations": status.observed, "entries": status.entries, "memory_mb": round(status.nbytes / 1e6)}
    speed = {"million_observations_s": round(count / taken / 1e6, 3), "longest_request_ms": round(1e3 * longest)}
    print(json.dumps({**told, **speed}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def start(folder: Path) -> None:
    begun = time.perf_counter()
    import pyarrow as pa

    from tocsin.jobs.contexts import Contexts

    imported = time.perf_counter()
    contexts = Contexts.open(folder)
    opened = time.perf_counter()
    contexts.read("bench", [pa.array([f"value-{number}"]) for number in range(5)])
    answered, cpu = time.perf_counter(), time.process_time()
    seconds = {
        "open_s": round(opened - imported, 2),
        "start_s": round(answered - begun, 2),
        "start_cpu_s": round(cpu, 2),
    }
    print(json.dumps({"found": contexts.model("bench").observed, **seconds}), flush=True)


def run(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    folder = Path(tempfile.mkdtemp(prefix="novelty-", dir=sys.argv[2] if len(sys.argv) > 2 else "."))
    try:
        learned = run("observe", str(folder), str(count))
        journal = sum(path.stat().st_blocks * 512 for path in folder.glob("journal-*.log"))
        began = run("start", str(folder))
    finally:
        shutil.rmtree(folder)
    assert began.pop("found") == learned["observations"]
    told = {**learned, "journal_mb": round(journal / 1e6), **began}
    for name, value in told.items():
        print(f"{name:24}{value:>16,}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["observe"]:
        observe(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["start"]:
        start(Path(sys.argv[2]))
    else:
        main()
