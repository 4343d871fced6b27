"""`tocsin fingerprint` over a small lake."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.cli import cli

DAYS = 4


@pytest.fixture(autouse=True)
def _lake(monkeypatch, tmp_path):
    """Three days on which each host keeps to its fingerprint, and a fourth on which 10.0.0.1 has another."""
    monkeypatch.chdir(tmp_path)
    Path("tocsin.yaml").write_text("store: ./data\nfingerprint: {min_observations: 5}\nverdict: {warm_up_rows: 0}\n")
    for n in range(DAYS):
        start = datetime(2025, 4, 2 + n, tzinfo=UTC)
        rows = [(f"10.0.0.{host}", f"ja4_{host}") for host in (1, 2, 3) for _ in range(40)]
        if n == DAYS - 1:
            rows = [(host, "ja4_foreign" if host == "10.0.0.1" else seen) for host, seen in rows]
        folder = Path(f"data/default/v2/year=2025/month=4/day={2 + n}")
        folder.mkdir(parents=True)
        table = pa.table({
            "stime": pa.array([start + timedelta(minutes=i) for i in range(len(rows))], pa.timestamp("us", "UTC")),
            "proto": ["tcp"] * len(rows),
            "saddr": [row[0] for row in rows],
            "daddr": ["192.0.2.1"] * len(rows),
            "ndpi_ja4": [row[1] for row in rows],
        })  # fmt: skip
        pq.write_table(table, folder / "flows.parquet")


def run(*arguments: str):
    return CliRunner().invoke(cli, ["fingerprint", *arguments])


def output(*arguments: str):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_build_learns_the_lakes_newest_days():
    (done,) = output("build")
    assert done["days"] == ["2025-04-02", "2025-04-03", "2025-04-04", "2025-04-05"]
    assert done["counts"]["client hosts"] == 3
    assert Path("data/default/fingerprint/profiles.npz").is_file()
    assert output("build", "--days", "2")[0]["days"] == ["2025-04-04", "2025-04-05"]
    assert output("build", "--start", "2025-04-01", "--end", "2025-04-03")[0]["days"] == ["2025-04-02", "2025-04-03"]


@pytest.mark.parametrize("built", [[], ["build"], ["build", "--start", "2025-04-02", "--end", "2025-04-04"]], ids=len)
def test_detect_finds_the_change_whatever_was_built_before(built):
    if built:
        output(*built)
    (done,) = output("detect")
    assert (done["days"], done["counts"]) == (["2025-04-05"], {"candidates": 1, "findings": 1})
    (again,) = output("detect", "--date", "2025-04-05")
    assert again["counts"]["findings"] == 0


def test_a_day_like_the_others_has_no_finding():
    assert output("detect", "--date", "2025-04-04")[0]["counts"]["candidates"] == 0


def test_the_first_day_has_nothing_to_be_compared_with():
    (done,) = output("detect", "--date", "2025-04-02")
    assert "no fingerprints are known from before 2025-04-02" in done["notes"][0]


def test_profile_shows_a_hosts_history():
    rows = output("profile", "--ip", "10.0.0.1")["fingerprints"]
    assert [(row["fingerprint"], row["flows"], row["share"]) for row in rows] == [
        ("ja4_1", 120, 0.75), ("ja4_foreign", 40, 0.25),
    ]  # fmt: skip
    assert rows[1]["first"] == "2025-04-05T00:00:00+00:00"
    assert "presented no fingerprint" in run("profile", "--ip", "10.0.0.99").output
    assert "ja4_foreign" in run("profile", "--ip", "10.0.0.1", "--days", "1").output


FAULTS = {
    ("detect", "--date", "2024-01-01"): (3, "no flows of 2024-01-01"),
    ("build", "--start", "2024-01-01", "--end", "2024-01-02"): (3, "no flows of these days"),
    ("build", "--start", "2025-04-02"): (2, "--start and --end go together"),
    ("build", "--start", "2025-04-03", "--end", "2025-04-02"): (2, "is after --end"),
    ("build", "--start", "2025-04-02", "--end", "2025-04-03", "--days", "2"): (2, "not both"),
}


@pytest.mark.parametrize("arguments", FAULTS, ids=" ".join)
def test_what_cannot_be_is_one_line(arguments):
    code, text = FAULTS[arguments]
    done = run(*arguments)
    assert done.exit_code == code
    assert text in done.stderr.splitlines()[-1]


def test_flows_without_fingerprints_are_said_to_be_so():
    for path in Path("data").rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None).drop_columns("ndpi_ja4"), path)
    assert "no flow of these days has a fingerprint" in output("build")[0]["notes"][0]
