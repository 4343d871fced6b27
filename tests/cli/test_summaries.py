"""`tocsin summaries`."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.detectors.summary.build import build
from tocsin.detectors.summary.presets import PRESETS
from tocsin.settings import load_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    for name in [name for name in __import__("os").environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tocsin.settings.DEFAULT_FILES", ("tocsin.yaml",))


def run(*arguments: str):
    return CliRunner().invoke(cli, ("summaries", *arguments))


def output(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def failure(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 2
    return done.stderr.removeprefix("tocsin: ").rstrip("\n")


OWN = """\
summaries:
  # ours
  - name: own
    input: flow
    key: {host: saddr}
    reduce: {sent: sum}
    observe: sbytes
    epoch: 1h
    every: 5m
    threshold: {of: sent, at: [1e6, 1e9]}
    enabled: false
"""


def test_list_names_what_is_set_and_what_comes_along():
    Path("tocsin.yaml").write_text(OWN + "  - preset: traceroute\n")
    rows = {row["name"]: row for row in json.loads(output("list", "--json"))}
    assert rows.keys() == {"own", *PRESETS}
    assert rows["own"] == {
        "name": "own",
        "state": "off",
        "input": ["flow"],
        "key": ["host"],
        "threshold": "sent: 1,000,000, 1,000,000,000",
        "epoch": "1h every 5m",
    }
    assert (rows["traceroute"]["state"], rows["ssh-guessing"]["state"]) == ("on", "comes along")
    assert "ssh-guessing" in output("list")


@pytest.mark.parametrize("name", PRESETS)
def test_explain_a_preset(name):
    told = output("explain", name)
    for part in (f"{name}: {PRESETS[name].help} [comes along]", "Needs", PRESETS[name].needs, "bytes a key"):
        assert part in told
    text = "\n".join(line[4:] for line in told.partition("As settings\n\n")[2].splitlines())
    Path("tocsin.yaml").write_text(text)
    (summary,) = build(load_settings().summaries)
    Path("tocsin.yaml").write_text(f"summaries: [{{preset: {name}}}]")
    assert (summary,) == build(load_settings().summaries)


def test_explain_one_of_the_settings():
    Path("tocsin.yaml").write_text(OWN)
    facts = json.loads(output("explain", "own", "--json"))
    assert facts["state"] == "off"
    assert facts["early"] is True
    assert facts["severity"] == ["medium", "high"]
    assert facts["explained"]["rings"][0] == "when sent reaches 1,000,000 (medium), 1,000,000,000 (high)"
    assert facts["explained"]["windows"] == [
        "of 1 h, one every 5 min, beginning at round times (UTC); late records count for 5 min"
    ]
    assert 40 < facts["bytes_a_key"] < 100
    assert yaml.safe_load(facts["yaml"])["summaries"][0]["every"] == "5m"


def test_explain_one_that_is_called_like_a_preset():
    Path("tocsin.yaml").write_text(OWN.replace("name: own", "name: ssh-guessing"))
    assert output("explain", "ssh-guessing").startswith("ssh-guessing: a summary of the settings")


def test_explain_what_is_not_there():
    assert failure("explain", "trceroute") == "there is no summary 'trceroute'; did you mean 'traceroute'?"
    assert failure("explain", "zzzz") == "there is no summary 'zzzz'; `tocsin summaries list`"


def test_enable_makes_a_file():
    assert output("enable", "traceroute", "ssh-guessing") == (
        "traceroute is on, in tocsin.yaml.\nssh-guessing is on, in tocsin.yaml.\n"
    )
    assert Path("tocsin.yaml").read_text() == "summaries:\n  - preset: traceroute\n  - preset: ssh-guessing\n"


def test_enable_keeps_the_file_as_it_is_written():
    Path("tocsin.yaml").write_text(f"store: ./d  # here\n{OWN}# the end\n")
    answer = json.loads(output("enable", "traceroute", "--json"))
    assert answer == {"file": "tocsin.yaml", "enabled": ["traceroute"], "on_before": [], "dry_run": False}
    text = Path("tocsin.yaml").read_text()
    assert text.replace("  - preset: traceroute\n", "") == f"store: ./d  # here\n{OWN}# the end\n"
    assert output("enable", "traceroute") == "traceroute is on already.\n"
    assert Path("tocsin.yaml").read_text() == text


def test_enable_may_only_show():
    Path("tocsin.yaml").write_text(OWN)
    assert "+  - preset: traceroute" in output("enable", "traceroute", "--dry-run").splitlines()
    assert Path("tocsin.yaml").read_text() == OWN


def test_enable_refuses_what_it_cannot_do(monkeypatch):
    assert failure("enable", "trceroute") == "there is no summary 'trceroute'; did you mean 'traceroute'?"
    Path("tocsin.yaml").write_text("summaries: [{preset: traceroute, enabled: false}]\n")
    assert failure("enable", "traceroute").startswith("summaries.0: traceroute is there but switched off")
    Path("tocsin.yaml").write_text("summaries: [{preset: traceroute, name: ssh-guessing}]\n")
    assert failure("enable", "ssh-guessing").startswith("summaries.0.name: another summary is called ssh-guessing")
    Path("tocsin.yaml").write_text("{store: ./d}\n")
    assert failure("enable", "traceroute") == (
        "tocsin.yaml: cannot be added to safely; write `- preset: traceroute` below `summaries:` yourself"
    )
    monkeypatch.setenv("TOCSIN_SUMMARIES", "[]")
    assert failure("enable", "traceroute").startswith("environment TOCSIN_SUMMARIES: sets the summaries")
