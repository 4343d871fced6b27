"""A small lake and what jobs work with."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tocsin.app import App
from tocsin.jobs.lake import day_prefix, write_parquet
from tocsin.jobs.work import Work
from tocsin.records.flow import flow_schema
from tocsin.settings import Settings
from tocsin.testing.clock import FakeClock

DAY = date(2025, 1, 6)


def make_flows(n: int, day: date = DAY, seed: int = 0, proto: str = "tcp") -> pa.Table:
    """Plain web traffic of twenty hosts; the last flow is odd in every way."""
    rng = np.random.default_rng([seed, day.toordinal()])
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6
    stime = np.sort(start + rng.integers(0, 86_400_000_000, n)).astype(np.int64)
    columns = {
        "flowid": [f"{proto}-{day}-{seed}-{i}" for i in range(n)],
        "stime": pa.array(stime, pa.timestamp("us", tz="UTC")),
        "etime": pa.array(stime + 1_000_000, pa.timestamp("us", tz="UTC")),
        "dur": rng.integers(100, 2000, n),
        "proto": [proto] * n,
        "saddr": [f"10.0.0.{i}" for i in rng.integers(1, 21, n)],
        "daddr": [f"192.0.2.{i}" for i in rng.integers(1, 10, n)],
        "sport": rng.integers(32768, 60999, n),
        "dport": rng.choice([80, 443, 53], n),
        "spkts": rng.integers(3, 20, n),
        "dpkts": rng.integers(3, 20, n),
        "sbytes": rng.integers(300, 3000, n),
        "dbytes": rng.integers(500, 50_000, n),
        "conn_state": ["SF"] * n,
    }
    schema = flow_schema(list(columns))
    table = pa.table({name: pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names})
    odd = pa.table({
        **{name: table.column(name).slice(n - 1) for name in table.column_names},
        "flowid": pa.array([f"{proto}-{day}-{seed}-odd"]), "dport": pa.array([6667], pa.uint16()),
        "sbytes": pa.array([900_000_000], pa.uint64()), "dur": pa.array([40_000_000], pa.uint32()),
        "conn_state": pa.array(["RSTO"]),
    })  # fmt: skip
    return pa.concat_tables([table.slice(0, n - 1), odd.select(table.column_names)])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "store"), sampling={"small_day_rows": 0, "sample_percent": 50.0})


@pytest.fixture
def app(settings: Settings) -> App:
    app = App(settings, clock=FakeClock(datetime(2025, 1, 8, 2, tzinfo=UTC)))
    yield app
    app.close()


@pytest.fixture
def work(app: App) -> Work:
    return app.work()


@pytest.fixture
def fill(work: Work) -> Callable[..., None]:
    """Put a day's flows into the lake as one object."""

    def put(n: int = 1000, day: date = DAY, *, name: str = "part-0", seed: int = 0, proto: str = "tcp") -> None:
        table = make_flows(n, day, seed, proto)
        work.store.put(f"{day_prefix(work.domain, day)}{name}.parquet", write_parquet(table))

    return put
