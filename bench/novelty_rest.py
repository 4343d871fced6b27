"""How many observations a second the service takes over REST, on one core, with full durability.

    python bench/novelty_rest.py [--seconds 10] [--fields 5] [--server-core 0] [--client-core 1] [--durability full]

Three measurements, each by wrk on loopback with 16 connections, from another core than the server's: observe/bulk with
1,000 observations a request, observe with one, and an empty FastAPI endpoint with a body model, under the same server
(uvicorn, uvloop, httptools, no access log). Values are heavy-tailed, each request of the bulk measurement has others.
Without wrk (Debian: apt-get install wrk) it says so and ends.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BODIES = 200
ROWS = 1000
CONNECTIONS = 16
EMPTY = """
from fastapi import FastAPI
from pydantic import BaseModel

class Flow(BaseModel):
    proto: str
    service: str
    conn_state: str
    history: str
    resp_port: str

app = FastAPI()

@app.post("/empty")
async def empty(flow: Flow) -> dict[str, bool]:
    return {"ok": True}
"""
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, bodies[at])
end
done = function(summary, latency)
  io.write(string.format("p50 %%d p99 %%d wrong %%d\\n", latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout))
end
"""


@dataclass
class Measured:
    """What wrk says: requests a second, latency in milliseconds, failed requests; busy: of its core, by the server."""

    per_s: float
    busy: float
    p50_ms: float
    p99_ms: float
    wrong: int


def observations(count: int, fields: int, seed: int) -> list[list[str]]:
    """Return observations whose values are heavy-tailed, as those of connections are."""
    rng = np.random.default_rng(seed)
    columns = [np.minimum(rng.zipf(1.3, count), 60_000).astype(str) for _ in range(fields)]
    return [[f"{chr(97 + at)}{value}" for at, value in enumerate(row)] for row in zip(*columns, strict=True)]


@contextmanager
def server(command: list[str], core: int, ready: str) -> Iterator[int]:
    process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.DEVNULL)
    try:
        _wait(ready)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str, timeout_s: float = 60) -> None:
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def measure(url: str, path: str, bodies: list[bytes], core: int, seconds: int, folder: Path, pid: int) -> Measured:
    file, script = folder / "bodies", folder / "request.lua"
    file.write_bytes(b"\n".join(bodies) + b"\n")
    script.write_text(SCRIPT % (file, path))
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    began, used = time.monotonic(), _cpu_s(pid)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    busy = (_cpu_s(pid) - used) / (time.monotonic() - began)
    per_s = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    p50, p99, wrong = map(int, re.search(r"p50 (\d+) p99 (\d+) wrong (\d+)", said).groups())
    return Measured(per_s, busy, p50 / 1000, p99 / 1000, wrong)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--fields", type=int, default=5)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    parser.add_argument("--durability", choices=("full", "fast"), default="full")
    parser.add_argument("--port", type=int, default=18080)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not there, nothing is measured; apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        _run(options, Path(name))


def _run(options: argparse.Namespace, folder: Path) -> None:
    url = f"http://127.0.0.1:{options.port}"
    bulk = [json.dumps(observations(ROWS, options.fields, seed)).encode() for seed in range(BODIES)]
    single = [json.dumps(each).encode() for each in observations(ROWS, options.fields, BODIES)]
    names = ("proto", "service", "conn_state", "history", "resp_port")
    models = [json.dumps(dict(zip(names, each, strict=True))).encode() for each in observations(ROWS, 5, 0)]
    (folder / "empty_app.py").write_text(EMPTY)
    (folder / "tocsin.yaml").write_text(f"store: {folder / 'store'}\n")

    def run(path: str, bodies: list[bytes], seconds: int) -> Measured:
        return measure(url, path, bodies, options.client_core, seconds, folder, pid)

    tocsin = [sys.executable, "-m", "tocsin", "--config", str(folder / "tocsin.yaml"), "serve"]
    tocsin += ["--port", str(options.port), "--durability", options.durability]
    with server(tocsin, options.server_core, f"{url}/api/v1/admin/readiness") as pid:
        run("/api/v1/novelty/bulk/observe/bulk", bulk, 3)
        many = run("/api/v1/novelty/bulk/observe/bulk", bulk, options.seconds)
        run("/api/v1/novelty/single/observe", single, 3)
        one = run("/api/v1/novelty/single/observe", single, options.seconds)
        memory = _memory_mib(pid)
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "empty_app:app", "--port", str(options.port)]
    uvicorn += ["--no-access-log", "--log-level", "warning"]
    with server(uvicorn, options.server_core, f"{url}/docs") as pid:
        run("/empty", models, 3)
        empty = run("/empty", models, options.seconds)
    _tell("observe/bulk, 1,000 a request", many, f"{many.per_s * ROWS:>12,.0f} observations/s")
    _tell("observe", one, f"{one.per_s / empty.per_s:>12.2f} times the empty endpoint")
    _tell("empty FastAPI endpoint", empty, "")
    print(f"memory of the service afterwards: {memory:.0f} MiB; {options.fields} components, {options.durability}")


def _tell(what: str, found: Measured, more: str) -> None:
    latency = f"p50 {found.p50_ms:6.2f} ms  p99 {found.p99_ms:6.2f} ms"
    core = f"{found.busy:4.0%} of a core"
    print(f"{what:<32}{found.per_s:>10,.0f} requests/s  {core}  {latency}  failed {found.wrong:<4}{more}")


if __name__ == "__main__":
    main()
