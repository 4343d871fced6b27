"""Killed at any moment and run again, the pipeline's outputs equal an undisturbed run's: no row lost, none doubled."""

import hashlib
import json
import multiprocessing
import random
import runpy
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

KILLS = 50

SCRIPT = """
import sys
from tocsin.cli import cli
cli(["-c", {config!r}, "ingest", {log!r}, "--json"], standalone_mode=False)
cli(["-c", {config!r}, "auto", "--json"], standalone_mode=False)
"""

CONFIG = """
store: {store}
ingest: {{chunk_mb: 1, workers: 1}}
sampling: {{sample_percent: 30, small_day_rows: 0}}
limits: {{claim_expiry_s: 5}}
logging: {{level: error}}
"""


def write_log(path: Path, rows: int) -> None:
    """A Zeek conn.log of two days, with a scanner in it."""
    rng = random.Random(7)
    start = datetime(2025, 1, 6, tzinfo=UTC).timestamp()
    fields = (
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state "
        "orig_pkts resp_pkts"
    )
    types = "time string addr port addr port enum string interval count count string count count"
    with path.open("w") as out:
        out.write("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n")
        out.write("#fields\t" + fields.replace(" ", "\t") + "\n#types\t" + types.replace(" ", "\t") + "\n")
        for i in range(rows):
            at = start + i * 2 * 86_400 / rows
            if i % 20 == 0:
                victim = f"10.1.{i // 250 % 250}.{i % 250}"
                row = ["10.0.0.66", 40000 + i % 9999, victim, 445, "tcp", "-", "-", "-", "-", "S0", 1, 0]
            else:
                proto, port, service = rng.choice([("tcp", 443, "ssl"), ("tcp", 80, "http"), ("udp", 53, "dns")])
                ends = [f"10.0.0.{rng.randrange(1, 40)}", 30000 + i % 30000, f"192.0.2.{rng.randrange(1, 30)}", port]
                sent, back = rng.randrange(100, 3000), rng.randrange(100, 90_000)
                counts = [sent, back, "SF", sent // 500 + 2, back // 1200 + 2]
                row = [*ends, proto, service, round(rng.random() * 3, 6), *counts]
            out.write("\t".join(map(str, [f"{at:.6f}", f"C{i:012x}", *row])) + "\n")


class Site:
    """A store of its own, the script that fills it, and what came out."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.store = folder / "store"
        folder.mkdir(parents=True)
        config = folder / "tocsin.yaml"
        config.write_text(CONFIG.format(store=self.store))
        self.script = folder / "run.py"
        self.script.write_text(SCRIPT.format(config=str(config), log=str(log)))

    def start(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tocsin.cli", "tocsin.jobs.pipeline", "tocsin.jobs.ingest", "sklearn.ensemble"])
        process = context.Process(target=runpy.run_path, args=(str(self.script),))
        process.start()
        return process

    def outputs(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.store.rglob("*.parquet")):
            name = str(path.relative_to(self.store))
            if "/.tocsin-" not in name:
                found[name] = _rows_digest(pq.read_table(path, partitioning=None))
        for path in sorted(self.store.rglob("models/*/index.json")):
            index = json.loads(path.read_text())
            versions = [(version["number"], version["digest"]) for version in index["versions"]]
            found[str(path.relative_to(self.store))] = str([*versions, index["aliases"]])
        found["findings"] = str(self.findings())
        return found

    def findings(self) -> list[tuple[Any, ...]]:
        from tocsin.clock import SystemClock
        from tocsin.ledger.ledger import Ledger

        ledger = Ledger(f"sqlite:///{self.store}/ledger.sqlite", clock=SystemClock())
        kept = ledger.findings(limit=None, include_suppressed=True)
        rows = [(item.id, item.score, item.count, item.record_count, item.title) for item in kept]
        ledger.close()
        return sorted(rows)


def _rows_digest(table: pa.Table) -> str:
    keys = [(name, "ascending") for name in ("flowid", "host", "field", "key") if name in table.column_names]
    rows = table.sort_by(keys) if keys else table
    return f"{table.num_rows} rows {hashlib.blake2b(repr(rows.to_pydict()).encode()).hexdigest()}"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "conn.log"
    write_log(path, 24_000)
    return path


@pytest.fixture(scope="module")
def undisturbed(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:

    Site(tmp_path_factory.mktemp("warm") / "site", log).start().join()  # the first run compiles
    site = Site(tmp_path_factory.mktemp("calm") / "site", log)
    begun = time.monotonic()
    process = site.start()
    process.join()
    assert process.exitcode == 0
    return site.outputs(), time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_kill_leaves_what_a_run_again_completes(
    log: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    calm, seconds = undisturbed
    assert sum(name.startswith("default/v2/") for name in calm) >= 2
    rng = random.Random(2025)
    kills = 0
    for number in range(4 * KILLS):  # a run that was done before its kill counts as none
        site = Site(tmp_path / str(number), log)
        for _ in range(5):  # one store is killed some times before it may finish
            process = site.start()
            process.join(rng.uniform(0.05, seconds))
            if not process.is_alive():
                break
            process.kill()
            process.join()
            kills += 1
        process = site.start()
        process.join()
        assert process.exitcode == 0
        assert site.outputs() == calm
        if kills >= KILLS:
            break
    assert kills >= KILLS
