"""Logs: five levels, into a file or to standard error, for people or as JSON."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.cli.logs import LEVELS, ORDER, OURS, set_up_logs
from tocsin.errors import SettingsError
from tocsin.settings import LoggingSettings
from tocsin.testing.logs import zeek_log

log = logging.getLogger("tocsin.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if handler.get_name() == OURS:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


def say_everything() -> None:
    for name, level in LEVELS.items():
        log.log(level, "at %s", name, extra={"n": 1})


@pytest.mark.parametrize("level", ORDER)
def test_a_level_and_what_is_graver_is_written(tmp_path: Path, level: str) -> None:
    file = tmp_path / "log"
    set_up_logs(LoggingSettings(level=level, file=file))
    say_everything()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == [f"at {name}" for name in ORDER[: ORDER.index(level) + 1]]
    assert all({"level", "logger", "timestamp", "n"} <= line.keys() for line in lines)


def test_each_verbose_lowers_the_level_by_one(tmp_path: Path) -> None:
    for verbose, level in enumerate(("warn", "info", "debug", "trace", "trace")):
        set_up_logs(LoggingSettings(level="warn", file=tmp_path / "log"), verbose)
        assert logging.getLogger().level == LEVELS[level]


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    set_up_logs(LoggingSettings(file=tmp_path / "log"))
    log.info("before")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.info("after")
    assert "before" in (tmp_path / "log.1").read_text()
    assert "after" in (tmp_path / "log").read_text()
    assert "before" not in (tmp_path / "log").read_text()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"logging\.file: cannot write .*/absent/log: No such file"):
        set_up_logs(LoggingSettings(file=tmp_path / "absent" / "log"))


def test_it_follows_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_logs(LoggingSettings(format="console"))
    place = StringIO()
    monkeypatch.setattr(sys, "stderr", place)  # as progress bars do
    log.warning("above the bars")
    assert "above the bars" in place.getvalue()
    assert not place.getvalue().startswith("{")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """Run tocsin in a folder of its own, and return its log's lines: level and event."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tocsin.yaml").write_text("store: ./data\nlogging: {file: ./log}\n")
    (tmp_path / "conn.log").write_text(zeek_log(3))

    def run(*arguments: str) -> set[str]:
        (tmp_path / "log").unlink(missing_ok=True)
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        return {f"{line['level']}: {line['event']}" for line in lines}

    return run


def test_v_tells_each_piece_of_work_and_no_more(told: Callable[..., set[str]]) -> None:
    lines = told("-v", "ingest", "conn.log")
    assert {"debug: reading conn.log", "debug: read conn.log: new"} <= lines
    lines = told("-v", "sample")
    assert {"debug: sampling 2018-12-21", "debug: sampled tcp of 2018-12-21", "debug: sampled 2018-12-21"} <= lines
    assert not [line for line in lines if line.startswith("trace")]


def test_vv_tells_each_object_too(told: Callable[..., set[str]]) -> None:
    told("ingest", "conn.log")
    lines = told("-vv", "sample")
    assert "debug: sampled 2018-12-21" in lines
    assert {
        "trace: wrote default/sample/tcp/sample-2018-12-21.parquet",
        "trace: made state document default/sample/.state.json",
        "trace: read default/sample/.state.json",
    } <= lines
    assert any(line.startswith("trace: opened default/v2/year=2018/month=12/day=21/") for line in lines)
