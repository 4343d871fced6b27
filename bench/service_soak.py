"""Memory of the service under a day's load compressed into ten minutes: it must be flat.

A day of a busy site is sent at 144 times its speed to a real `tocsin serve` with full durability: observations by the
thousand with values that never come back, so that all contexts age; single ones; reads; records through a
transformation; a page that is looked at; scrapes; uploads; contexts that are made, exported, imported and deleted;
labels and rules that come and go. What is late is made up for; what was not done of a day's load is told.

Resident memory of the process is sampled every 5 seconds. Of the samples after the warm-up (the first quarter of the
run) the slope is the median of the slopes of all pairs (Theil-Sen), so that one peak does not make it. Flat: over a
whole day's load it rises by less than 5 % of the median. Exits 1 when it is not, or when any
request failed.

    python bench/service_soak.py [--minutes 10]
"""

import argparse
import http.client
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from service_fuzz import fill, service

DAY_S = 600.0
SAMPLE_S = 5.0
WARM_UP = 0.25
FLAT = 0.05
RESULTS = Path(__file__).parent / "results" / "service_soak.json"
JSON = {"Content-Type": "application/json"}
CONTEXTS: dict[str, dict[str, Any]] = {
    "web": {"max_entries": 100_000},
    "dns": {"max_entries": 50_000, "half_life": 100_000},
    "ssh": {"max_entries": 50_000, "window": 50_000},
    "conn": {"max_entries": 100_000, "order": "auto"},
}
FILES, RECORDS = "files", "records"
"""Contexts that uploads and transformed records go to; as bounded as the others, or the day would not be long enough to
fill them."""


class Client:
    """One connection that stays open, and counts what failed."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=60)
        self.failed: list[str] = []
        self.sent = 0

    def send(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> bytes:
        """Send a request and return its answer's body; what is not 2xx is noted."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.sent += 1
        try:
            self._connection.request(
                method, path if path[0] == "/" else f"/api/v1/{path}", data, {"Content-Type": kind} if data else {}
            )
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{method} {path}: {error!r}")
            self._connection.close()
            return b"{}"
        if not 200 <= answer.status < 300:
            self.failed.append(f"{method} {path}: {answer.status} {content[:300]!r}")
        return content


@dataclass
class Load:
    """One kind of load: how often a day, what is sent, and over how many connections; each keeps to its schedule."""

    name: str
    per_day: int
    send: Callable[[Client, random.Random, int], None]
    connections: int = 1
    counts: list[int] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list, repr=False)

    def start(self, url: str, until: float) -> list[threading.Thread]:
        self.clients = [Client(url) for _ in range(self.connections)]
        self.counts = [0] * self.connections
        threads = [threading.Thread(target=self._run, args=(at, until)) for at in range(self.connections)]
        for thread in threads:
            thread.start()
        return threads

    @property
    def done(self) -> int:
        return sum(self.counts)

    def _run(self, at: int, until: float) -> None:
        client, rng, begun = self.clients[at], random.Random(f"{self.name} {at}"), time.monotonic()
        for number in count(at, self.connections):
            due = begun + number * DAY_S / self.per_day
            if due >= until:
                return
            time.sleep(max(due - time.monotonic(), 0))
            if time.monotonic() >= until:
                return
            self.send(client, rng, number)
            self.counts[at] += 1


def observation(rng: random.Random) -> list[str]:
    """Make five values with heavy tails; the last two hardly ever come back."""
    port = str(int(rng.paretovariate(0.8)) % 65_536)
    address = f"10.{rng.randrange(4)}.{int(rng.paretovariate(0.6)) % 256}.{rng.randrange(256)}"
    return ["tcp" if rng.random() < 0.9 else "udp", port, rng.choice("SFRP"), address, f"{rng.getrandbits(40):x}"]


def bulk(client: Client, rng: random.Random, number: int) -> None:
    context = list(CONTEXTS)[number % len(CONTEXTS)]
    client.send("POST", f"novelty/{context}/observe/bulk", [observation(rng) for _ in range(1000)])


def single(client: Client, rng: random.Random, number: int) -> None:
    client.send("POST", f"novelty/{rng.choice(list(CONTEXTS))}/observe", observation(rng))


def read(client: Client, rng: random.Random, number: int) -> None:
    client.send("POST", f"novelty/{rng.choice(list(CONTEXTS))}/read", observation(rng))


def transformed(client: Client, rng: random.Random, number: int) -> None:
    records = [dict(zip(("proto", "port", "state", "host"), observation(rng), strict=False)) for _ in range(100)]
    client.send("POST", f"novelty/{RECORDS}/observe/bulk?transformation=conn", records)


def page(client: Client, rng: random.Random, number: int) -> None:
    for path in ("novelty", "novelty/recent", "findings?limit=20", "jobs?limit=20"):
        client.send("GET", path)
    client.send("GET", f"novelty/{rng.choice(list(CONTEXTS))}")
    if number % 10 == 0:
        client.send("GET", "status")
        client.send("GET", "hosts")


def scrape(client: Client, rng: random.Random, number: int) -> None:
    client.send("GET", "/metrics")


def context_life(client: Client, rng: random.Random, number: int) -> None:
    name, copy = f"short-{number}", f"copy-{number}"
    client.send("PUT", f"novelty/{name}", {"max_entries": 20_000})
    client.send("POST", f"novelty/{name}/observe/bulk", [observation(rng) for _ in range(2000)])
    kept = client.send("GET", f"novelty/{name}/export")
    client.send("POST", f"novelty/{copy}/import", kept, kind="application/octet-stream")
    client.send("POST", f"novelty/{copy}/merge", {"from": name})
    client.send("POST", f"novelty/{name}/reset")
    for each in (name, copy):
        client.send("DELETE", f"novelty/{each}")


def upload(client: Client, rng: random.Random, number: int) -> None:
    rows = "\n".join(",".join(observation(rng)) for _ in range(20_000))
    data = f"proto,port,state,host,uid\n{rows}\n".encode()
    begun = json.loads(
        client.send("POST", f"novelty/{FILES}/upload?observe=proto&observe=port&observe=host", data, kind="text/csv")
    )
    while json.loads(client.send("GET", f"uploads/{begun.get('id')}")).get("state") == "running":
        time.sleep(0.2)


def office(client: Client, rng: random.Random, number: int) -> None:
    found = json.loads(client.send("GET", "findings?limit=5&all=true")).get("findings") or [{}]
    client.send("POST", f"findings/{rng.choice(found).get('id')}/label", {"state": "acknowledged", "note": str(number)})
    rule = json.loads(client.send("POST", "suppressions", {"entity": f"10.0.0.{number % 30}", "reason": "soak"}))
    client.send("DELETE", f"suppressions/{rule.get('id')}")


def loads() -> list[Load]:
    return [
        Load("1,000 observations at once", 20_000, bulk, 4),
        Load("one observation", 200_000, single, 16),
        Load("read one", 50_000, read, 4),
        Load("100 records through a transformation", 5_760, transformed),
        Load("the page", 5_760, page, 2),
        Load("metrics", 2_880, scrape),
        Load("a context's life", 288, context_life),
        Load("upload of 20,000 rows", 288, upload),
        Load("label, rule", 1_440, office),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default="", help="only loads whose name has this, to find what it is that grows")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tocsin-soak-"))
    try:
        return soak(folder, asked.minutes * 60, [each for each in loads() if asked.only in each.name])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def soak(folder: Path, run_s: float, kinds: list[Load]) -> int:
    fill(folder / "store")
    with service(folder) as url:
        first = Client(url)
        for name, options in CONTEXTS.items():
            first.send("PUT", f"novelty/{name}", options)
        for name in (FILES, RECORDS):
            first.send("PUT", f"novelty/{name}", {"max_entries": 100_000})
        first.send("PUT", "transformations/conn", {"observe": ["proto", "port", "state", "host"]})
        process, until = served(url), time.monotonic() + run_s
        threads = [thread for each in kinds for thread in each.start(url, until)]
        samples = sampled(process, folder / "store", until)
        for thread in threads:
            thread.join()
        contexts = json.loads(Client(url).send("GET", "novelty"))["contexts"]
    failed = first.failed + [line for each in kinds for client in each.clients for line in client.failed]
    return report(kinds, run_s, samples, contexts, failed)


def served(url: str) -> psutil.Process:
    """Return the process that listens there."""
    port = urlsplit(url).port
    for process in psutil.Process().children(recursive=True):
        if any(each.laddr.port == port for each in process.net_connections("tcp")):
            return process
    raise SystemExit(f"no child of this process listens on {port}")


def sampled(process: psutil.Process, store: Path, until: float) -> list[tuple[float, float, float]]:
    """Return seconds, resident MB and MB on disk, every few seconds."""
    begun, samples = time.monotonic(), []
    while time.monotonic() < until and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        disk = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) if store.exists() else 0
        samples.append((time.monotonic() - begun, process.memory_info().rss / 1e6, disk / 1e6))
        print(f"{samples[-1][0]:6.0f} s {samples[-1][1]:8.1f} MB {samples[-1][2]:8.1f} MB on disk", flush=True)
        time.sleep(SAMPLE_S)
    return samples


def slope(samples: list[tuple[float, float]]) -> float:
    """Return the median of the slopes of all pairs (Theil 1950; Sen 1968), a second."""
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(samples, 2))


def report(
    kinds: list[Load], run_s: float, samples: list[tuple[float, float, float]], contexts: list[Any], failed: list[str]
) -> int:
    print_work(kinds, run_s, contexts, failed)
    warm = [(at, memory) for at, memory, _ in samples if at >= WARM_UP * run_s]
    memory, median = [value for _, value in warm], statistics.median(value for _, value in warm)
    a_day = slope(warm) * DAY_S
    is_flat = a_day < FLAT * median
    disk = [value for at, _, value in samples if at >= WARM_UP * run_s]
    print(f"MB on disk: min {min(disk):.1f}, median {statistics.median(disk):.1f}, max {max(disk):.1f}")
    print(
        f"resident MB after {WARM_UP * run_s:.0f} s: min {min(memory):.1f}, median {median:.1f}, "
        f"max {max(memory):.1f}; slope {a_day / DAY_S * 60:+.2f} MB a minute, {a_day:+.1f} MB a day's load "
        f"({100 * a_day / median:+.1f} % of the median, flat below {100 * FLAT:.0f} %): "
        f"{'flat' if is_flat else 'NOT FLAT'}"
    )
    result = {
        "minutes": run_s / 60,
        "done": {each.name: each.done / (each.per_day * run_s / DAY_S) for each in kinds},
        "failed": len(failed),
        "rss_mb": {"min": min(memory), "median": median, "max": max(memory), "a_day": a_day},
        "samples": samples,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1))
    return int(not is_flat or bool(failed))


def print_work(kinds: list[Load], run_s: float, contexts: list[Any], failed: list[str]) -> None:
    for each in kinds:
        due = each.per_day * run_s / DAY_S
        print(f"{each.name:40} {each.done:9,} of {due:9,.0f} due ({100 * each.done / due:.0f} %)")
    for each in contexts:
        most = CONTEXTS.get(each["name"], {}).get("max_entries", "-")
        print(
            f"context {each['name']:10} {each['observed']:11,} observed, {each['entries']:9,} entries, at most {most}"
        )
    print(f"requests: {sum(client.sent for each in kinds for client in each.clients):,}, failed: {len(failed)}")
    for line in sorted({re.sub(r"[0-9a-f]{6,}|\d+", "#", line) for line in failed})[:20]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
