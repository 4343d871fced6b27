"""No 5xx, and no answer that its own description does not allow, in 20,000 requests that schemathesis makes up.

A real `tocsin serve` on a store of its own, with contexts, findings, rules, hosts' scores and jobs in it, whose names
every second request uses. schemathesis reads /openapi.json and sends what it allows, what it forbids, and sequences
(make, read, delete, read again). Counted by the service itself (/metrics), so that what is counted is what was
answered. 503 counts as a failure like any other 5xx.

Left out: POST /api/v1/admin/shutdown, which ends the service.
Checks: no 5xx; status, content type, headers and body of every answer as described; what the description forbids is
refused (but for bulk, which with ?partial=1 answers 200 and says of each observation what is wrong with it); methods
that are not there are refused with the right Allow.

    python bench/service_fuzz.py [--requests 20000] [--seed 1] [--only REGEX] [--keep]
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.app import App
from tocsin.records.finding import Candidate, Reason
from tocsin.settings import Settings

SHUTDOWN = "/api/v1/admin/shutdown"
NOT_CHECKED = (
    *("positive_data_acceptance", "missing_required_header", "use_after_free", "ensure_resource_availability"),
    *("ignored_auth", "object_level_authorization"),
)
"""What the description cannot say (which SQL is good), and what is not asked of a service that is open."""
PARTIAL = [f"/api/v1/novelty/{{context}}/{verb}/bulk" for verb in ("observe", "read")]
CONTEXTS = ("web", "dns.office", "ssh-1")
TRANSFORMATIONS = ("conn",)
A_ROUND = 60
"""Examples an operation in one run of schemathesis; runs with further seeds follow until there are enough requests."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="paths that match this expression alone")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the service's log")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tocsin-fuzz-"))
    try:
        return fuzz(folder, asked)
    finally:
        if asked.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def fuzz(folder: Path, asked: argparse.Namespace) -> int:
    known = fill(folder / "store")
    with service(folder) as url:
        client = httpx2.Client(base_url=url, timeout=60)
        known |= fill_service(client)
        began, failed, seed = time.perf_counter(), False, asked.seed
        before = answered(client)
        while (counts := answered(client) - before).total() < asked.requests:
            failed |= not one_run(folder, url, known, seed, first=seed == asked.seed, only=asked.only)
            if not (answered(client) - before).total() > counts.total():
                print("schemathesis sends nothing any more")
                return 1
            seed += 1
        took_s = time.perf_counter() - began
    return report(counts, took_s, failed, (folder / "serve.log").read_text())


def fill(store: Path) -> dict[str, list[str]]:
    """Put findings, jobs and a day of host scores into a store; return names and ids that can be asked for."""
    app, day = App(Settings(store=str(store))), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    reasons = [Reason("dport", "4444", "443, 53", 0.75), Reason("sbytes", "9000", "below 100", 0.25)]
    record = {"saddr": "10.0.0.1", "dport": 4444, "stime": day, "sbytes": float("nan")}
    app.verdict.judge(
        [
            Candidate(
                *("outlier", "unusual-flows", f"10.0.0.{n}", day, day, 5.0, 99 + n / 40, f"10.0.0.{n} stands out"),
                reasons=reasons, records=[record], record_count=1, scope={"saddr": f"10.0.0.{n}"}, about=str(n),
            )
            for n in range(30)
        ]
    )  # fmt: skip
    for outcome in ("ok", "failed", ""):
        job = app.ledger.start_job("train", domain=app.domain, piece="tcp", owner="bench")
        if outcome:
            app.ledger.finish_job(job, outcome, "bench", {"rows": 3})
    scores = app.home / app.domain / "score" / "hosts" / "all" / f"hosts-{day.date()}.parquet"
    scores.parent.mkdir(parents=True)
    pq.write_table(pa.table({"host": ["10.0.0.1", "fe80::1"], "raw": [9.0, 2.0], "score": [99.95, 80.0]}), scores)
    ids = [finding.id for finding in app.ledger.findings(domain=app.domain)]
    app.close()
    return {"finding_id": ids, "host": ["10.0.0.1", "fe80::1"]}


@contextmanager
def service(folder: Path):
    """Run `tocsin serve` on a free port, and give its address."""
    environment = os.environ | {"TOCSIN_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "tocsin", "serve", "--port", "0"]
    with (folder / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        try:
            yield address(process, folder / "serve.log")
        finally:
            if process.poll() is not None:
                print(f"the service ended by itself: {(folder / 'serve.log').read_text()[-3000:]}", file=sys.stderr)
            process.send_signal(signal.SIGTERM)
            if process.wait(60):
                print(f"the service ended with {process.returncode}", file=sys.stderr)


def address(process: subprocess.Popen, log: Path, within_s: float = 60) -> str:
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"serving at (http://\S+)", log.read_text())
        if found and httpx2.get(f"{found[1]}/api/v1/admin/readiness").status_code == 200:
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"the service is not ready:\n{log.read_text()}")


def fill_service(client: httpx2.Client) -> dict[str, list[str]]:
    """Make contexts, a transformation and rules; return their names and ids."""
    for context in CONTEXTS:
        rows = [["tcp", str(port), f"10.0.0.{port % 7}"] for port in range(200)]
        client.post(f"/api/v1/novelty/{context}/observe/bulk", json=rows).raise_for_status()
    for name in TRANSFORMATIONS:
        client.put(f"/api/v1/transformations/{name}", json={"observe": ["proto", "service"]}).raise_for_status()
    rules = []
    for number in range(5):
        rule = client.post("/api/v1/suppressions", json={"entity": f"10.0.0.{number}", "reason": "bench"})
        rules.append(rule.raise_for_status().json()["id"])
    return {"context": list(CONTEXTS), "name": list(TRANSFORMATIONS), "rule_id": rules}


def one_run(folder: Path, url: str, known: dict[str, list[str]], seed: int, *, first: bool, only: str) -> bool:
    """Let schemathesis send its requests; tell whether all went well."""
    config = folder / "schemathesis.toml"
    lines = ["[parameters]"]
    lines += [f'"path.{name}" = {{ dictionary = "{name}", probability = 0.5 }}' for name in known]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    lines += ["[checks]", *(f"{name}.enabled = false" for name in NOT_CHECKED)]
    lines += ["[[operations]]", f"include-path = {json.dumps(PARTIAL)}"]
    lines += ["checks.negative_data_rejection.enabled = false"]
    config.write_text("\n".join(lines))
    phases = "examples,coverage,fuzzing,stateful" if first else "fuzzing,stateful"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"),
        *("run", f"{url}/openapi.json", "--phases", phases, "--seed", str(seed)),
        *("--max-examples", str(A_ROUND), "--continue-on-failure", "--suppress-health-check", "all"),
        *("--exclude-path", SHUTDOWN, "--warnings", "off", "--request-timeout", "30"),
        *(("--include-path-regex", only) if only else ()),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        told = re.sub(r"(\w)\1{40,}", r"\1…\1", done.stdout)  # long values are made of one character
        print("\n".join(line[:1000] for line in told[max(told.find("= ERRORS ="), 0) :].splitlines()))
    return done.returncode == 0


def answered(client: httpx2.Client) -> Counter[tuple[str, str]]:
    """Return how many answers the service has given, by path and status."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in client.get("/metrics").text.splitlines():
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line))
        if line.startswith("tocsin_requests_total{") and labels.get("path") not in (None, "/metrics", "/openapi.json"):
            counts[f"{labels['method']} {labels['path']}", labels["status"]] += int(float(line.rpartition(" ")[2]))
    return counts


def report(counts: Counter[tuple[str, str]], took_s: float, failed: bool, log: str) -> int:
    paths: dict[str, Counter[str]] = {}
    statuses: Counter[str] = Counter()
    for (path, status), n in counts.items():
        paths.setdefault("methods that are not there" if status == "405" else path, Counter())[status] += n
        statuses[status] += n
    for path, by_status in sorted(paths.items()):
        print(f"{path:60} " + "  ".join(f"{status}: {n:,}" for status, n in sorted(by_status.items())))
    wrong = sum(n for status, n in statuses.items() if status.startswith("5"))
    print("all: " + "  ".join(f"{status}: {n:,}" for status, n in sorted(statuses.items())))
    print(
        f"{statuses.total():,} requests in {took_s:.0f} s, {wrong} of them answered with a 5xx; every answer as "
        f"described: {'no' if failed else 'yes'}"
    )
    if wrong:
        print("\n".join(line for line in log.splitlines() if '"level": "error"' in line)[-5000:])
    return int(bool(wrong) or failed)


if __name__ == "__main__":
    sys.exit(main())
