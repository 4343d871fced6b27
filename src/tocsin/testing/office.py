"""Small made-up traffic for tests: an office at peace, to which one thing is added."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

DAY_S = 86_400
START = 1_700_006_400  # 2023-11-15, midnight UTC


def flows(
    times: Sequence[float] | np.ndarray,
    source: str | Sequence[str],
    target: str | Sequence[str],
    port: int | Sequence[int] | np.ndarray,
    *,
    proto: str = "tcp",
    answered: bool | np.ndarray = True,
    out: float | np.ndarray = 800,
    back: float | np.ndarray = 5_000,
    seconds: float = 1.0,
    day: int = 0,
    sport: int = 40_000,
) -> pa.Table:
    """Make flows; what is given once holds for all. times: seconds into the day."""
    n = len(times)

    def spread(value: object) -> np.ndarray:
        return np.broadcast_to(np.asarray(value), n)

    ok = spread(answered).astype(bool)
    return pa.table(
        {
            "flowid": pa.array([f"{source if isinstance(source, str) else 'many'}-{port}-{i}" for i in range(n)]),
            "stime": pa.array(
                ((START + day * DAY_S + np.asarray(times)) * 1e6).astype(np.int64), pa.timestamp("us", "UTC")
            ),
            "dur": pa.array(np.full(n, int(seconds * 1000)), pa.uint32()),
            "proto": pa.array([proto] * n),
            "saddr": pa.array([source] * n if isinstance(source, str) else list(source)),
            "daddr": pa.array([target] * n if isinstance(target, str) else list(target)),
            "sport": pa.array(np.full(n, sport), pa.uint16()),
            "dport": pa.array(spread(port).astype(np.uint16)),
            "spkts": pa.array(np.full(n, 6), pa.uint64()),
            "dpkts": pa.array(np.where(ok, 6, 0), pa.uint64()),
            "sbytes": pa.array(spread(out).astype(np.uint64)),
            "dbytes": pa.array(np.where(ok, spread(back), 0).astype(np.uint64)),
        }
    )


def office(seed: int = 0, hosts: int = 30, day: int = 0) -> list[pa.Table]:
    """Hosts that browse, ask for names, set their clocks, fetch mail and updates; one watches, one keeps backups."""
    rng = np.random.default_rng(seed)
    web = [f"{a}.{b}.7.9" for a in range(20, 60) for b in range(10)]
    people = [f"10.0.0.{i}" for i in range(10, 10 + hosts)]
    tables = []
    for host in people:
        n = int(rng.integers(40, 200))
        times = np.sort(rng.random(n) * 36_000 + 28_800)
        where = [web[i] for i in (rng.pareto(1.0, n) * 8).astype(int) % len(web)]
        fine = rng.random(n) > 0.03
        size = rng.lognormal(7, 1, n)
        tables.append(flows(times, host, where, 443, answered=fine, out=size, back=rng.lognormal(9, 1, n), day=day))
        tables.append(flows(times, host, "10.0.0.2", 53, proto="udp", out=60, back=150, day=day))
        tables.append(
            flows(np.arange(84) * 1024.0 + rng.random(), host, "192.0.2.1", 123, proto="udp", out=48, day=day)
        )
        beat = np.arange(120) * 300.0 + 28_800 + rng.normal(0, 5, 120)
        tables.append(flows(beat, host, "198.51.100.25", 993, out=rng.normal(1100, 60, 120), day=day))
        tables.append(
            flows(np.arange(288) * 300.0, "10.0.0.3", host, 0, proto="icmp", sport=8, out=84, back=84, day=day)
        )
        tables.append(flows([7_200.0], host, "10.0.0.4", 10_051, out=2e9, back=1e5, seconds=60, day=day))
    return tables
