"""Live logs are followed through rotation."""

from pathlib import Path

import pytest

from tocsin.jobs.follow import Follower
from tocsin.settings import IngestSettings
from tocsin.testing.clock import FakeClock
from tocsin.testing.logs import zeek_header, zeek_log, zeek_row
from tocsin.testing.store import MemoryStore


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "conn.log"


@pytest.fixture
def follower(log):
    settings = IngestSettings(workers=1)
    with_files = Follower(MemoryStore(), [log], domain="d", settings=settings, clock=FakeClock())
    yield with_files
    with_files.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def rows(follower: Follower) -> int:
    return sum(result.rows for result in follower.look().files)


def test_takes_what_is_added_and_waits_for_unfinished_lines(follower, log):
    log.touch()
    assert rows(follower) == 0
    append(log, zeek_header())
    assert rows(follower) == 0
    append(log, zeek_row(0)[:-20])
    assert rows(follower) == 0
    append(log, zeek_row(0)[-20:] + zeek_row(1) + zeek_row(2)[:30])
    assert rows(follower) == 2
    append(log, zeek_row(2)[30:])
    assert rows(follower) == 1
    assert rows(follower) == 0


def test_reads_a_renamed_log_to_its_end(follower, log):
    log.write_text(zeek_log(5))
    assert rows(follower) == 5
    append(log, zeek_row(5) + zeek_row(6))
    log.rename(log.with_name("conn.old.log"))
    log.write_text(zeek_log(3, first=100))
    assert rows(follower) == 5
    assert rows(follower) == 0


def test_sees_a_log_that_is_cut_off_and_begun_anew(follower, log):
    log.write_text(zeek_log(5))
    assert rows(follower) == 5
    log.write_text("")
    assert rows(follower) == 0
    log.write_text(zeek_log(4, first=50))
    assert rows(follower) == 4


def test_a_log_that_is_not_there_yet_is_told_once(follower, log):
    assert [result.status for result in follower.look().files] == ["failed"]
    assert follower.look().files == []
    log.write_text(zeek_log(2))
    assert rows(follower) == 2


def test_looks_every_flush_and_a_last_time_when_stopped(follower, log):
    log.write_text(zeek_log(2))
    reports = []
    clock = follower.clock

    def stop() -> bool:
        if clock.monotonic() < 45:
            return False
        log.write_text(zeek_log(3))
        return True

    follower.run(stop, reports.append)
    assert [sum(result.rows for result in report.files) for report in reports] == [2, 0, 1]
    assert not follower._open
