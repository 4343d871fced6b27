import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli import cli
from tocsin.records.finding import Candidate
from tocsin.settings import load_settings

REASON = pa.list_(
    pa.struct([("field", pa.string()), ("seen", pa.string()), ("expected", pa.string()), ("share", pa.float64())])
)


def reason(field, share=1.0):
    return {"field": field, "seen": "900", "expected": "below 10", "share": share}


def write(day, *rows):
    folder = Path("data/default/score/hosts/all")
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("host", pa.string()), ("raw", pa.float64()), ("score", pa.float64()), ("reasons", REASON)])
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
    pq.write_table(table, folder / f"hosts-{day}.parquet")


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tocsin.yaml").write_text("store: ./data\n")


def run(*arguments):
    done = CliRunner().invoke(cli, ["hosts", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_ranks_with_why():
    write("2025-01-07", ("10.0.0.1", 5.0, 80.0, []), ("10.0.0.2", 30.0, 99.99, [reason("fanout"), reason("x", 0.1)]))
    write("2025-01-08", ("10.0.0.1", 6.0, 85.0, [reason("quiet")]), ("10.0.0.2", 1.0, 10.0, []))
    app = App(load_settings())
    noon = datetime(2025, 1, 7, 12, tzinfo=UTC)
    app.verdict.judge([Candidate("hosts", "scan", "10.0.0.2", noon, noon, 1.0, 99.99, "t")])
    app.close()
    first, second = json.loads(run("--json"))
    assert (first["rank"], first["host"], first["severity"], first["findings"]) == (1, "10.0.0.2", "critical", 1)
    assert first["raw"] == pytest.approx(30 + 0.2)
    assert (first["day"], first["days"]) == ("2025-01-07", 2)
    assert second["raw"] == pytest.approx(6 + 1.0)
    text = run("--limit", "1")
    assert "1 of 2 hosts, 2025-01-07 to 2025-01-08" in text
    assert "fanout 900 (expected below 10); x 900" in text


def test_chooses_days():
    for number in range(1, 11):
        write(date(2025, 1, number), (f"10.0.0.{number}", float(number), 50.0, []))

    def hosts(*options):
        return sorted(int(each["host"].rpartition(".")[2]) for each in json.loads(run(*options, "--json")))

    assert hosts() == [4, 5, 6, 7, 8, 9, 10]
    assert hosts("--days", "2") == [9, 10]
    assert hosts("--since", "2025-01-09") == [9, 10]
    assert hosts("--until", "2025-01-02") == [1, 2]
    assert hosts("--until", "2025-01-05", "--days", "2") == [4, 5]
    assert hosts("--since", "24h") == []
    assert "there are some from 2025-01-01 to 2025-01-10" in run("--since", "24h")


def test_nothing_yet():
    assert "No host scores yet" in run()
    assert json.loads(run("--json")) == []


def test_a_damaged_table_is_named_with_the_remedy():
    write("2025-01-06", ("10.0.0.1", 9.0, 99.9, []))
    table = next(Path("data").rglob("hosts-*.parquet"))
    table.write_bytes(table.read_bytes()[:60])
    done = CliRunner().invoke(cli, ["hosts"])
    assert done.exit_code == 4
    assert "hosts-2025-01-06.parquet is no readable Parquet file" in done.output
    assert "tocsin auto" in done.output


def test_a_store_that_is_a_file_is_refused():
    Path("data").write_text("")
    done = CliRunner().invoke(cli, ["status"])
    assert done.exit_code in (4, 5)
    assert "Traceback" not in done.output
    done = CliRunner().invoke(cli, ["auto"])
    assert done.exit_code == 4
    assert "`store` must be a folder that can be made" in " ".join(done.output.split())
