"""The commands of the pipeline, models and status over a small site; what every command has in common."""

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from tocsin.app import App
from tocsin.cli import COMMANDS, cli
from tocsin.jobs.work import Work

DAYS = ["2025-01-06", "2025-01-07", "2025-01-08"]
WEEK = ("--days", "3", "--flows-per-day", "1500", "--hosts", "40", "--start", DAYS[0])

Run = Callable[..., Result]


def invoke(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def told(*arguments: str) -> list[dict[str, Any]]:
    value: list[dict[str, Any]] = json.loads(invoke(*arguments, "--json").stdout)
    return value


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and three days of flows."""
    folder = tmp_path_factory.mktemp("lake")
    config = "store: ./data\nsampling: {small_day_rows: 0, sample_percent: 50}\nlogging: {file: ./log}\n"
    (folder / "tocsin.yaml").write_text(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        invoke("generate", *WEEK)
    return folder


@pytest.fixture(scope="module")
def done(lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder after `auto`."""
    folder = tmp_path_factory.mktemp("done") / "site"
    shutil.copytree(lake, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        invoke("auto")
    return folder


@pytest.fixture
def fresh(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own, before `auto`; the commands run in it."""
    shutil.copytree(lake, tmp_path / "site")
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def site(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own, after `auto`; the commands run in it."""
    shutil.copytree(done, tmp_path / "site")
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path / "site"


def test_auto_says_what_it_did_and_what_comes_next(fresh: Path) -> None:
    said = invoke("auto").stdout
    for job in ("profile", "sample", "extract", "rank", "train", "score"):
        assert f"\n{job} (2025-01-06 to 2025-01-08): " in f"\n{said}"
    assert "Next: tocsin hosts · tocsin findings list · tocsin status" in said


def test_auto_again_does_nothing(site: Path) -> None:
    again = {item["job"]: item["counts"] for item in told("auto")}
    assert again["sample"] == {}
    assert again["extract"] == again["rank"]
    assert set(again["extract"]) == {"protocols unchanged"}
    assert set(again["train"]) == {"models unchanged"}
    assert "Next:" not in invoke("auto", "--sequential").stdout


def test_auto_on_nothing_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`tocsin ingest PATH…` fills it" in invoke("auto").stdout


def test_sample_takes_days(site: Path) -> None:
    assert told("sample") == [{"job": "sample", "counts": {}, "days": [], "notes": []}]
    assert told("sample", "--date", DAYS[1])[0]["days"] == [DAYS[1]]
    assert told("sample", "--days", "2")[0]["days"] == DAYS[1:]
    (absent,) = told("sample", "--date", "2024-01-01")
    assert absent["notes"] == ["2024-01-01: the lake has no flows of this day"]
    cleared, again = told("sample", "--clear")
    assert cleared["counts"]["samples removed"] >= 6
    assert again["days"] == DAYS
    invoke("sample", "--date", "yesterday", code=2)


def test_stages_one_by_one(fresh: Path) -> None:
    assert "`tocsin sample` makes them" in invoke("extract").stdout
    invoke("sample", "-p", "tcp")
    assert invoke("rank", "-p", "tcp", code=6).stderr.endswith("run `tocsin extract` first\n")
    assert told("extract", "-p", "tcp")[0]["counts"]["tables"] > 5
    assert told("extract", "-p", "tcp")[0]["counts"] == {"protocols unchanged": 1}
    assert told("rank", "-p", "tcp")[0]["counts"]["fields selected"] > 3
    assert told("train", "-p", "tcp")[0]["counts"]["models"] == 1
    assert told("score", "-p", "tcp")[-1]["days"] == DAYS
    shutil.rmtree("data/default/extract")
    assert told("extract", "-p", "tcp")[0]["counts"]["tables"] > 5


def test_models_come_and_go(site: Path) -> None:
    assert told("train", "-p", "tcp")[0]["counts"] == {"models unchanged": 1}
    assert told("train", "-p", "tcp", "--algorithm", "iforest")[0]["counts"]["models"] == 1
    invoke("train", "--algorithm", "magic", code=2)
    first, second = sorted(
        (item for item in told("models", "list") if item["model"] == "tcp"), key=lambda v: v["number"]
    )
    assert (first["algorithm"], second["algorithm"]) == ("hbos", "iforest")
    assert "production" in second["aliases"]
    assert json.loads(invoke("models", "show", "tcp", "--json").stdout)["number"] == 2
    assert "algorithm  hbos" in invoke("models", "show", "tcp", "v1").stdout
    assert invoke("models", "rollback", "tcp").stdout == "tcp: v1 is served\n"
    assert invoke("models", "promote", "tcp", "v2").stdout == "tcp: v2 is served\n"
    assert "iforest" in invoke("models", "list").stdout
    assert "no version 'v9'; it has v2, v1" in invoke("models", "show", "tcp", "v9", code=6).stderr
    assert "no version in production" in invoke("models", "rollback", "sctp", code=6).stderr
    invoke("models", "rollback", "tcp")
    assert "no good version before v1" in invoke("models", "rollback", "tcp", code=6).stderr


def test_train_by_force(site: Path) -> None:
    assert told("train", "-p", "udp", "--force", "--algorithm", "hybrid", "--sequential")[0]["counts"]["models"] == 1


def test_score_takes_days_and_times(site: Path) -> None:
    assert told("score")[-1]["days"] == []
    assert told("score", "--date", DAYS[0])[-1]["days"] == [DAYS[0]]
    assert told("score", "--days", "2")[-1]["days"] == DAYS[1:]
    assert told("score", "--since", "2025-01-08T00:00:00Z")[-1]["days"] == [DAYS[2]]
    said = invoke("score", "--since", "yesterday", code=2).stderr
    assert said == "tocsin: --since: 'yesterday' is no RFC 3339 time, such as 2025-01-01T00:00:00Z\n"


def test_score_goes_on_with_what_comes(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = site / "data/default/v2/year=2025/month=01/day=08"

    class Rounds(threading.Event):
        naps: ClassVar[list[float | None]] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.naps.append(timeout)
            if len(self.naps) == 1:
                shutil.copy(next(day.glob("*.parquet")), day / "part-late.parquet")
            return len(self.naps) > 2

    def work(app: App, protocols: tuple[str, ...] = ()) -> Work:
        made = real(app, protocols)
        made.stop = Rounds()
        return made

    real = App.work
    monkeypatch.setattr(App, "work", work)
    lines = [json.loads(line) for line in invoke("score", "--continuous", "--json").stdout.splitlines()]
    assert Rounds.naps == [300.0] * 3
    assert [round_[-1]["days"] for round_ in lines] == [[], [DAYS[2]], []]


def test_status_before_and_after(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = json.loads(invoke("status", "--json").stdout)
    assert state["lake"] == {"days": 3, "first": DAYS[0], "last": DAYS[2]}
    assert state["sampled_days"] == 3
    assert state["last_scored"].startswith(DAYS[2])
    assert {"tcp", "udp"} <= state["models"].keys()
    assert {job["outcome"] for job in state["jobs"]} == {"ok"}
    assert [job["name"] for job in state["next"]] == ["sample", "train"]
    assert state["claims"] == []
    said = invoke("status").stdout
    assert "3 days of flows (2025-01-06 to 2025-01-08)" in said
    assert "models served: " in said
    monkeypatch.chdir(tmp_path)
    assert "none yet; `tocsin auto` makes them" in invoke("status").stdout
    assert json.loads(invoke("status", "--json").stdout)["lake"]["days"] == 0


def test_demo_says_what_to_run_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = invoke("demo", "--flows-per-day", "3000", "--days", "3", "--out", "here").stdout
    assert "planted attacks" in said
    assert "tocsin -c here/tocsin.yaml hosts" in said
    assert "tocsin ingest /path/to/conn.log && tocsin auto && tocsin hosts" in said
    invoke("-c", "here/tocsin.yaml", "hosts")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    assert "name another folder" in invoke("demo", "--out", "mine", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (("status",), logging.INFO),
        (("-v", "status"), logging.DEBUG),
        (("status", "-v"), logging.DEBUG),
        (("-vv", "status"), 5),
        (("-v", "status", "-v"), 5),
        (("models", "list", "-v"), logging.DEBUG),
        (("models", "-v", "list", "-v"), 5),
    ],
)
def test_verbosity_stands_before_and_after_the_verb(fresh: Path, arguments: tuple[str, ...], level: int) -> None:
    invoke(*arguments)
    assert logging.getLogger().level == level


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    said = invoke(name, "--help").stdout
    assert said.count(f"tocsin {name}") >= 1 or f" {name} " in said
    assert "-v" in said


@pytest.mark.parametrize(
    "arguments", [("frobnicate",), ("auto", "--frobnicate"), ("score", "extra"), ("sample", "--days", "0")]
)
def test_what_no_command_knows_ends_with_2(arguments: tuple[str, ...]) -> None:
    assert "Traceback" not in invoke(*arguments, code=2).output


@pytest.mark.parametrize(
    ("config", "arguments", "code", "said"),
    [
        ("stoer: x", ("status",), 2, "unknown key 'stoer'; did you mean 'store'?"),
        ("store: ./d", ("-c", "absent.yaml", "status"), 2, "absent.yaml"),
        ("store: ./d", ("ingest", "absent.log"), 3, "absent.log"),
        ("store: ./tocsin.yaml\nledger: 'sqlite:///l.sqlite'", ("auto",), 4, "a file stands where a folder should"),
        ("store: ./d\nledger: 'sqlite:///tocsin.yaml'", ("auto",), 5, "the file is damaged or something else"),
        ("store: ./d", ("models", "show", "tcp"), 6, "model 'tcp' has no version 'production'; it has none"),
    ],
    ids=["settings", "no settings", "input", "store", "ledger", "model"],
)
def test_errors_are_a_line_and_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tocsin.yaml").write_text(config + "\n")
    error = invoke(*arguments, code=code).stderr
    lines = [line for line in error.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith("tocsin: ")
    assert said in lines[0]
