"""`tocsin findings` and `tocsin suppress` over a ledger with a few findings."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli import cli
from tocsin.settings import load_settings
from tocsin.testing.findings import DAY
from tocsin.testing.findings import a_candidate as candidate


@pytest.fixture(autouse=True)
def _ledger(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tocsin.yaml").write_text("store: ./data\n")
    app = App(load_settings(Path("tocsin.yaml")))
    app.verdict.judge(
        [
            candidate("10.0.0.1", 99.999),
            candidate("10.0.0.2", 99.5, kind="beacon", start=DAY + timedelta(days=1), end=DAY + timedelta(days=1)),
            candidate("=cmd|'/c calc'!A1", 99.95, title="[red]\x1b[31mnot a colour"),
        ]
    )
    app.close()


def run(*arguments, code=0):
    # The root group ends a TocsinError with one line and its exit code.
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done


def listed(*arguments):
    return json.loads(run("findings", "list", *arguments, "--json").stdout)


def first_id():
    return listed()[0]["id"]


def test_list_is_by_score():
    assert [each["severity"] for each in listed()] == ["critical", "high", "medium"]
    assert next(each["entity"] for each in listed("--order", "time")) == "10.0.0.2"
    text = run("findings", "list").stdout
    assert "3 of 3 findings" in text
    assert "99.999" in text
    assert "findings show" in text


@pytest.mark.parametrize(
    ("options", "entities"),
    [
        (["--entity", "10.0.0.1"], ["10.0.0.1"]),
        (["--kind", "beacon"], ["10.0.0.2"]),
        (["--detector", "series"], []),
        (["--min-severity", "critical"], ["10.0.0.1"]),
        (["--since", "2025-01-09"], ["10.0.0.2"]),
        (["--since", "2025-01-09T11:00:00+01:00", "--until", "2025-01-10"], ["10.0.0.2"]),
        (["--until", "2025-01-09", "--limit", "1"], ["10.0.0.1"]),
        (["--since", "24h"], []),
        (["--state", "closed"], []),
    ],
)
def test_list_chooses(options, entities):
    assert [each["entity"] for each in listed(*options)] == entities


def test_nothing_matches_says_what_there_is():
    text = run("findings", "list", "--kind", "nothing").stdout
    assert "None of the 3 findings match; the newest is of 2025-01-09 10:00:00" in text


def test_show_says_why():
    text = run("findings", "show", first_id()[:6]).stdout
    assert "10.0.0.1 stands out" in text
    assert "███████████████ " in text
    assert "75 %" in text
    assert "443, 53" in text
    assert "1 of 7 records" in text
    assert json.loads(run("findings", "show", first_id(), "--json").stdout)["labels"] == []


def test_text_out_of_traffic_is_printed_as_it_is():
    shown = next(each for each in listed() if each["entity"].startswith("="))
    for text in (run("findings", "list").stdout, run("findings", "show", shown["id"]).stdout):
        assert "[red]" in text
        assert "\x1b" not in text


def test_label_is_kept_with_who_and_why():
    run("findings", "label", first_id(), "true_positive", "--note", "ticket 4711", "--who", "ann")
    assert listed("--state", "true_positive")[0]["entity"] == "10.0.0.1"
    text = run("findings", "show", first_id()).stdout
    assert "ticket 4711" in text
    assert "ann" in text
    assert "Invalid value" in run("findings", "label", first_id(), "great", code=2).output


def test_export_formats(tmp_path):
    lines = run("findings", "export").stdout.splitlines()
    assert json.loads(lines[0])["entity"] == "10.0.0.2"
    rows = list(csv.DictReader(io.StringIO(run("findings", "export", "--format", "csv", "--limit", "3").stdout)))
    assert {row["entity"] for row in rows} == {"10.0.0.1", "10.0.0.2", "'=cmd|'/c calc'!A1"}
    assert rows[0]["reasons"].startswith("dport: 4444, expected 443, 53 (75 %); sbytes")
    assert "#path\tnotice" in run("findings", "export", "--format", "notice").stdout
    out = tmp_path / "out.parquet"
    run("findings", "export", "--format", "parquet", "--out", str(out), "--kind", "beacon")
    assert pq.read_table(out).num_rows == 1
    run("findings", "export", "--out", str(tmp_path / "out.jsonl"))
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["findings", "list", "--since", "yesterday"], 2, "--since: 'yesterday' is no time"),
        (["findings", "list", "--since", "99999999w"], 2, "--since: 99999999w"),
        (["findings", "show", "zzz"], 5, "there is no finding 'zzz'"),
        (["findings", "export", "--format", "parquet"], 2, "needs --out"),
        (["findings", "export", "--out", "no/such/folder/x"], 7, "--out: cannot write"),
        (["suppress", "add", "--reason", "x"], 2, "needs a condition"),
        (["suppress", "add", "--entity", "x"], 2, "--reason"),
        (["suppress", "add", "--network", "10.x", "--reason", "x"], 2, "no CIDR block"),
        (["suppress", "add", "--hours", "late", "--reason", "x"], 2, "no window"),
        (["suppress", "test", "--weekdays", "someday"], 2, "weekdays 'someday'"),
        (["suppress", "remove", "zzz"], 5, "there is no suppression 'zzz'"),
    ],
)
def test_mistakes_get_one_line(arguments, code, says):
    output = run(*arguments, code=code).output
    assert says in output.replace("\n", " ")
    assert "Traceback" not in output


def test_suppress_tries_adds_lists_and_removes():
    tried = json.loads(run("suppress", "test", "--network", "10.0.0.0/24", "--json").stdout)
    assert {each["entity"] for each in tried} == {"10.0.0.1", "10.0.0.2"}
    assert (
        "would hide 2 of 3 findings"
        in run("suppress", "test", "--field", "dport=4444", "--network", "10.0.0.0/24").stdout
    )
    assert len(listed()) == 3

    options = ["--network", "10.0.0.0/24", "--kind", "beacon", "--reason", "known poller", "--expires", "30d"]
    added = json.loads(run("suppress", "add", *options, "--owner", "ann", "--json").stdout)
    assert len(added["hidden"]) == 1
    assert [each["entity"] for each in listed()] == ["10.0.0.1", "=cmd|'/c calc'!A1"]
    assert len(listed("--all")) == 3
    assert f"hidden by {added['id']}" in run("findings", "list", "--all").stdout
    assert "known poller" in run("suppress", "list").stdout
    (rule,) = json.loads(run("suppress", "list", "--active", "--json").stdout)
    assert (rule["hits"], rule["owner"], rule["active"]) == (1, "ann", True)

    assert "1 findings are in sight again" in run("suppress", "remove", added["id"][:4]).stdout
    assert len(listed()) == 3
    assert "No rules." in run("suppress", "list").stdout


def test_an_expired_rule_hides_nothing_in_the_list():
    options = ["--weekdays", "wed", "--hours", "9-12", "--reason", "over", "--owner", "ann"]
    run("suppress", "add", *options, "--expires", "2025-01-01")
    assert len(listed()) == 3
    assert ", over" in run("suppress", "list").stdout
    assert run("suppress", "list", "--active").stdout.startswith("No rules")
    assert "2 of 3" in run("suppress", "test", *options[:4]).stdout


@pytest.mark.parametrize("command", [["findings"], ["findings", "list"], ["suppress", "add"], ["hosts"]])
def test_help_has_examples(command):
    assert f"tocsin {command[0]}" in run(*command, "--help").stdout
