"""Logs: five levels, into a file or to standard error, for people or as JSON."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from tocsin.cli.logs import LEVELS, ORDER, OURS, set_up_logs
from tocsin.errors import SettingsError
from tocsin.settings import LoggingSettings

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
