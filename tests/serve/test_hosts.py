"""Hosts over the service: the same documents as `tocsin hosts --json`."""

import json
from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from tocsin.app import App
from tocsin.cli import cli
from tocsin.records.finding import Candidate

Clients = Callable[..., TestClient]
LIST = "/api/v1/hosts"
REASON = pa.struct([("field", pa.string()), ("seen", pa.string()), ("expected", pa.string()), ("share", pa.float64())])
ROW = pa.schema([("host", pa.string()), ("raw", pa.float64()), ("score", pa.float64()), ("reasons", pa.list_(REASON))])
WHY = {"field": "fanout", "seen": "900", "expected": "below 10", "share": 1.0}


@pytest.fixture(autouse=True)
def _scored(app: App, candidate: Callable[..., Candidate]) -> None:
    folder = app.home / app.domain / "score" / "hosts" / "all"
    folder.mkdir(parents=True)
    for number in range(1, 10):
        rows = [
            {"host": "10.0.0.1", "raw": 5.0, "score": 80.0, "reasons": []},
            {"host": "fe80::1", "raw": 30.0 - number, "score": 99.99 - number, "reasons": [WHY]},
        ]
        table = pa.Table.from_pylist(rows if number > 1 else rows[:1], schema=ROW)
        pq.write_table(table, folder / f"hosts-{date(2025, 1, number)}.parquet")
    app.verdict.judge([candidate("fe80::1", 99.9)])


def test_the_ranking_is_what_the_command_line_prints(app: App, client: Clients) -> None:
    printed = CliRunner().invoke(cli, ["hosts", "--json"], env={"TOCSIN_STORE": app.settings.store})
    told = client().get(LIST).json()
    assert told["hosts"] == json.loads(printed.stdout)
    assert (told["total"], told["days"][0], len(told["days"])) == (2, "2025-01-03", 7)
    assert (told["hosts"][0]["host"], told["hosts"][0]["findings"]) == ("fe80::1", 1)


def test_days_and_number(client: Clients) -> None:
    here = client()
    assert here.get(LIST, params={"days": 2}).json()["days"] == ["2025-01-08", "2025-01-09"]
    told = here.get(LIST, params={"since": "2025-01-02", "until": "2025-01-04", "limit": 1}).json()
    assert (len(told["days"]), len(told["hosts"]), told["total"]) == (3, 1, 2)
    assert here.get(LIST, params={"until": "2024-01-01"}).json() == {"hosts": [], "total": 0, "days": []}


def test_one_host_has_its_days(client: Clients) -> None:
    here = client()
    whole = here.get(f"{LIST}/fe80::1", params={"days": 9}).json()
    by_day = whole.pop("by_day")
    assert whole == here.get(LIST, params={"days": 9}).json()["hosts"][0]
    assert [each["day"] for each in by_day] == [f"2025-01-0{number}" for number in range(2, 10)]
    assert by_day[0]["reasons"] == [WHY]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/10.0.0.7", 404),
        ("/fe80::1?days=1&until=2025-01-01", 404),
        ("/fe80::1?limit=3", 422),
        ("?days=0", 422),
        ("?days=36501", 422),
        ("?since=never", 422),
        ("?host=a", 422),
    ],
)
def test_what_cannot_be_asked(client: Clients, path: str, status: int) -> None:
    answer = client().get(LIST + path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_damaged_table_is_told(app: App, client: Clients) -> None:
    table = next(app.home.rglob("hosts-2025-01-09.parquet"))
    table.write_bytes(table.read_bytes()[:60])
    answer = client().get(LIST)
    assert answer.status_code == 503
    assert "hosts-2025-01-09.parquet is no readable Parquet file" in answer.json()["detail"]
