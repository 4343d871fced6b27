"""`tocsin config` and `tocsin validate`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.settings import Settings
from tocsin.settings_keys import describe

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    for name in [name for name in __import__("os").environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tocsin.settings.DEFAULT_FILES", ("tocsin.yaml",))


def run(*arguments: str):
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def output(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exception is None, done.exception
    return done.stdout


def test_show_says_where_each_value_comes_from(monkeypatch):
    monkeypatch.setenv("TOCSIN_TRAINING__SEED", "7")
    Path("own.yaml").write_text(
        "store: ./d\nsinks: [{type: webhook, url: 'https://ada:pw@example.org/x', secret: hush}]\n"
    )
    rows = {row["key"]: row for row in json.loads(output("-c", "own.yaml", "config", "show", "--json"))}
    assert rows["store"] == {"key": "store", "value": "./d", "origin": "own.yaml:1"}
    assert rows["training.seed"] == {"key": "training.seed", "value": 7, "origin": "environment TOCSIN_TRAINING__SEED"}
    assert rows["sinks.0.secret"]["value"] == "**********"
    assert rows["sinks.0.url"]["value"] == "https://ada:********@example.org/x"
    assert rows["domain"]["origin"] == "default"


def test_show_never_prints_a_secret():
    Path("tocsin.yaml").write_text("ledger: postgresql://u:hunter2@h/db\ns3: {endpoint: 'http://u:hunter2@h'}\n")
    assert "hunter2" not in output("config", "show") + output("config", "show", "--json")


def test_show_names_every_key():
    shown = {row["key"] for row in json.loads(output("config", "show", "--json"))}
    assert shown >= {key.name for key in describe(Settings) if "[]" not in key.name}


def test_schema_is_a_json_schema():
    document = json.loads(output("config", "schema", "--json"))
    assert document["additionalProperties"] is False
    percent = document["$defs"]["SamplingSettings"]["properties"]["sample_percent"]
    assert (percent["minimum"], percent["maximum"], percent["default"], percent["unit"]) == (0, 100, 10.0, "percent")


def test_schema_is_a_table():
    text = output("config", "schema")
    assert "sampling.retention_days" in text
    assert "≥ 1, ≤ 3650" in text


@pytest.mark.skipif(not DOCS.is_file(), reason="the documentation is not beside the tests")
def test_the_settings_page_is_what_the_schema_says():
    assert DOCS.read_text() == output("config", "schema", "--markdown"), "run `make docs`"


def test_good_settings_are_good():
    Path("tocsin.yaml").write_text("store: ./d\n")
    assert output("validate") == "tocsin.yaml: good\n"
    assert json.loads(output("validate", "--json")) == {"ok": True, "file": "tocsin.yaml", "problems": [], "notes": []}
    assert not Path("d").exists()


FAULTS = {
    "ledger_file: gone": "tocsin.yaml:1: ledger_file: cannot read gone: No such file or directory",
    "ledger_file: empty": "tocsin.yaml:1: ledger_file: empty is empty",
    "sinks: [{type: syslog, secret_file: gone}]": "tocsin.yaml:1: sinks.0.secret_file: cannot read gone",
    "s3: {access_key_id_file: gone, secret_access_key_file: full}": "s3.access_key_id_file: cannot read gone",
    "scoring: {reputation_file: bad.parquet}": "tocsin.yaml:1: scoring.reputation_file: there is no file bad.parquet",
    "limits: {temp_dir: spill}": "tocsin.yaml:1: limits.temp_dir: there is no folder spill",
    "logging: {format: json}\nstore: full/below": "tocsin.yaml:2: store: full/below cannot be made or written",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_planted_fault_is_found(text):
    Path("tocsin.yaml").write_text(text)
    Path("empty").write_text("\n")
    Path("full").write_text("secret\n")
    done = run("validate")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert FAULTS[text] in line
    assert json.loads(run("validate", "--json").stdout)["problems"] == [line.removeprefix("tocsin: ")]


def test_all_problems_are_listed_and_the_exit_code_is_2():
    Path("tocsin.yaml").write_text("ledger_file: gone\nlimits: {temp_dir: spill}\n")
    done = CliRunner().invoke(cli, ["validate", "--json"])
    assert done.exit_code == 2
    assert len(json.loads(done.stdout)["problems"]) == 2


def test_what_is_hardly_meant_is_noted(monkeypatch):
    monkeypatch.setenv("TOCSIN_DOMIAN", "lab")
    monkeypatch.setenv("TOCSIN_DATA", "/elsewhere")
    Path("tocsin.yaml").write_text(
        "sampling: {retention_days: 2}\nmetrics: {host: 0.0.0.0}\ntraining: {algorithm: hybrid}\n"
    )
    notes = json.loads(output("validate", "--json"))["notes"]
    assert [note.split(" ")[0] for note in notes] == [
        "features.sample_days", "metrics.host", "training.algorithm", "environment",
    ]  # fmt: skip
    assert notes[-1] == "environment TOCSIN_DOMIAN is no setting; did you mean TOCSIN_DOMAIN?"


def test_column_maps_are_looked_at():
    Path("tocsin.yaml").write_text("""
ingest:
  csv:
    good: {stime: "to_timestamp(start)", saddr: src, sbytes: "Flow Bytes", dur: "(last - first) * 1000"}
    odd: {sadr: src, dur: "(last - first", sbytes: "bytes; DROP TABLE rows"}
  rename: {src_ip: saddr, x: dst}
""")
    notes = json.loads(output("validate", "--json"))["notes"]
    assert [note.split(": ")[0] for note in notes] == [
        "ingest.csv.odd", "ingest.csv.odd.dur", "ingest.csv.odd.sbytes", "ingest.rename",
    ]  # fmt: skip
    assert notes[0] == "ingest.csv.odd: 'sadr' is no column of a flow and is kept as it is; did you mean 'saddr'?"


def test_validate_builds_the_summaries():
    Path("tocsin.yaml").write_text(
        "store: ./d\nsummaries:\n  - preset: ssh-guessing\n  - preset: traceroute\n    threshold: router >= 3\n"
    )
    assert run("validate").stderr == (
        "tocsin: tocsin.yaml:5: summaries.1.threshold: 'router' is no key part and no result; did you mean 'routers'?\n"
    )
    Path("tocsin.yaml").write_text("store: ./d\nsummaries: [{preset: traceroute, severity: low}]\n")
    (note,) = json.loads(output("validate", "--json"))["notes"]
    assert note == "summary traceroute: findings of severity low are not kept, as verdict.min_severity is medium"
    Path("tocsin.yaml").write_text(
        "store: ./d\nsummaries: [{preset: ssh-guessing, where: auth_sucess = false, key: {host: id.orgi_h}}]\n"
    )
    assert json.loads(output("validate", "--json"))["notes"] == [
        "summary ssh-guessing: 'auth_sucess' is no usual column of its records; did you mean 'auth_success'?",
        "summary ssh-guessing: 'id.orgi_h' is no usual column of its records; did you mean 'id.orig_h'?",
    ]
