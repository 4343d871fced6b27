"""Files, folders, globs and pipes in the order of time: merged, followed through rotation, resumed anywhere."""

import gzip
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.clock import SystemClock
from tocsin.errors import InputError
from tocsin.jobs import merge
from tocsin.jobs.ingest import ingest
from tocsin.jobs.inputs import Inputs, Records, lake_inputs
from tocsin.records.times import newest, record_times
from tocsin.settings import IngestSettings
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.clock import FakeClock
from tocsin.testing.logs import START, argus_log, event_log, zeek_header, zeek_json, zeek_log, zeek_row
from tocsin.testing.store import MemoryStore

SETTINGS = IngestSettings(workers=1)
HTTP = (["ts", "uid", "host"], ["time", "string", "string"], "http")


def http_log(numbers: Iterable[int]) -> str:
    return zeek_header(*HTTP) + "".join(f"{START + number * 60}.5\tH{number}\th\n" for number in numbers)


def zeek_paths(count: int) -> str:
    return zeek_json(count).replace('{"ts"', '{"_path": "conn", "ts"')


def inputs(*paths, clock=None, **options) -> Inputs:
    return Inputs(paths, settings=SETTINGS, clock=clock or FakeClock(), **options)


def some(reader: Inputs, seconds: float = 0.0) -> list[Records]:
    """Return what is there now."""
    found: list[Records] = []
    while records := reader.read(seconds):
        found += records
    return found


def names(found: Iterable[Records]) -> list[str]:
    """Return each record's identifier, in order."""
    picked = []
    for records in found:
        if records.kind:
            column = {"flow": "flowid", "event": "time"}.get(records.kind, "uid")
            picked += [str(value) for value in records.table.column(column).to_pylist()]
    return picked


def uids(numbers: Iterable[int]) -> list[str]:
    return [f"C{number:016d}" for number in numbers]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "conn.log"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("tocsin.jobs.lookout.BLOCK_BYTES", 1400)


def test_reads_what_lags_most_and_knows_how_far_it_is(tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(60))
    (tmp_path / "http.log").write_text(http_log(range(60)))
    (tmp_path / "dns.json").write_text(event_log(500))
    reader = inputs(tmp_path)
    seen: list[Records] = []
    for records in reader:
        times = np.asarray(record_times(records.kind, records.table).cast(pa.int64()))
        assert times.min() >= (seen[-1].watermark_us if seen else -1), "a record older than the watermark"
        seen.append(records)
    assert [records.watermark_us for records in seen] == sorted(records.watermark_us for records in seen)
    assert len(seen) > 12
    counts = {records.kind: 0 for records in seen}
    for records in seen:
        counts[records.kind] += records.table.num_rows
    assert counts == {"flow": 60, "zeek.http": 60, "event": 500}
    reached = dict.fromkeys((records.input for records in seen), 0)
    for index, records in enumerate(seen):
        left = {later.input for later in seen[index:]}
        assert reached[records.input] == min(reached[name] for name in left), "one input ran ahead of another"
        reached[records.input] = newest(records.kind, records.table)
    assert reader.is_over


def test_opens_an_input_when_its_time_has_come(tmp_path):
    for hour in range(5):
        (tmp_path / f"conn.{hour}.log").write_text(zeek_log(30, first=hour * 30))
    reader = inputs(tmp_path)
    most = 0
    for _ in reader:
        most = max(most, len(reader._open))
    assert most == 1


def test_ordinals_are_the_inputs_number_and_the_line_however_it_is_cut(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text(event_log(20) + zeek_paths(20))
    (tmp_path / "conn.log").write_text(zeek_log(20))

    def ordinals() -> dict[str, int]:
        return {
            name: int(ordinal)
            for records in inputs(tmp_path)
            for name, ordinal in zip(names([records]), records.ordinals, strict=True)
        }

    found = ordinals()
    monkeypatch.setattr("tocsin.jobs.lookout.BLOCK_BYTES", 1 << 20)
    assert ordinals() == found
    assert found[str(START)] == 1
    assert found["J0000000000000000"] == 21
    assert found["C0000000000000000"] == (1 << 40) + 9


def test_tells_of_all_that_it_does_not_read(tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3) + "bad\n" + zeek_row(3))
    (tmp_path / "a.copy.log.gz").write_bytes(gzip.compress((tmp_path / "conn.log").read_bytes())[:-20])
    (tmp_path / "empty.log").touch()
    (tmp_path / "http.log").write_text(http_log([1]))
    (tmp_path / "notes.log").write_text("nothing\n")
    packed = zlib.compress(zeek_log(3000, first=9).encode(), wbits=31)
    (tmp_path / "z.conn.log.gz").write_bytes(packed[: len(packed) // 2])
    reader = inputs(tmp_path, tmp_path / "absent.log", kinds={"flow"})
    count = len(names(reader))
    report = {Path(tally.path).name: tally for tally in reader.report()}
    assert (report["conn.log"].records, report["conn.log"].rejected) == (4, 1)
    assert report["conn.log"].reasons == [f"{tmp_path}/conn.log:12: 1 fields where the header names 21"]
    assert (report["http.log"].unasked, report["http.log"].warnings) == ("zeek.http", [])
    assert "is the same log as" in report["a.copy.log.gz"].warnings[0]
    assert (report["empty.log"].error, report["empty.log"].warnings) == ("", [f"{tmp_path}/empty.log: is empty"])
    assert "is no log that is known" in report["notes.log"].warnings[0]
    assert "breaks off" in report["z.conn.log.gz"].warnings[0]
    assert report["absent.log"].error == f"{tmp_path}/absent.log: No such file or directory"
    assert count == 4 + report["z.conn.log.gz"].records > 500
    assert reader.rejected == 1


def test_kinds_that_nobody_asks_for_are_not_parsed(tmp_path):
    (tmp_path / "mixed.json").write_text(event_log(5) + '{"_path":"dns","ts":"bad"}\n' + zeek_paths(5))
    reader = inputs(tmp_path, kinds={"zeek.conn"})
    assert {records.kind for records in reader} == {"flow"}
    [tally] = reader.report()
    assert (tally.records, tally.skipped, tally.rejected) == (5, 6, 0)


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_the_standard_input_packed_or_not(tmp_path, packing, monkeypatch):
    data = (zeek_log(400) + http_log(range(400))).encode()
    if packing == "gzip":
        data = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    elif packing == "zstd":
        data = zstandard.compress(data)
    reading, writing = os.pipe()
    monkeypatch.setattr("tocsin.jobs.pipes.os.dup", lambda _: os.dup2(reading, reading))
    writer = threading.Thread(target=lambda: [os.write(writing, data), os.close(writing)])
    writer.start()
    reader = inputs("-", clock=SystemClock())
    found = list(reader)
    writer.join()
    assert names(found) == uids(range(400)) + [f"H{number}" for number in range(400)]
    reader.close()


def test_a_pipe_gives_lines_at_once_and_its_clock_goes_on(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    clock = FakeClock(datetime(2025, 1, 8, tzinfo=UTC))
    reader = inputs(path, clock=clock)
    assert some(reader) == []
    with path.open("w") as writer:
        writer.write(zeek_log(2) + zeek_row(2)[:40])
        writer.flush()
        [records] = some(reader)
        assert names([records]) == uids([0, 1])
        newest_us = newest("flow", records.table)
        assert records.watermark_us == newest_us
        clock.advance(100)
        assert some(reader) == []
        assert reader.watermark_us == newest_us + 100_000_000
        writer.write(zeek_row(2)[40:])
        writer.flush()
        assert names(some(reader)) == uids([2])
        assert not reader.is_over
    assert some(reader) == []
    assert reader.is_over


def test_a_followed_pipe_waits_for_its_next_writer(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = inputs(path, follow=True)
    for numbers in ([0, 1], [2]):
        some(reader)
        with path.open("w") as writer:
            writer.write((zeek_header() if 0 in numbers else "") + "".join(map(zeek_row, numbers)))
            writer.flush()
            assert names(some(reader)) == uids(numbers)
    assert not reader.is_over
    reader.close()


def test_a_stream_that_goes_on_needs_no_second_header(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    positions = None
    for text, expected in ((zeek_log(2), [0, 1]), (zeek_row(2), [2]), (zeek_log(2, first=3), [3, 4])):
        reader = inputs(path, positions=positions)
        some(reader)
        with path.open("w") as writer:
            writer.write(text)
        assert names(found := some(reader)) == uids(expected)
        positions = json.loads(json.dumps(reader.positions()))
        assert found[-1].ordinals[-1] == {1: 10, 2: 11, 4: 21}[expected[-1]]


def test_an_input_that_fails_is_told_and_the_others_go_on(tmp_path, log, monkeypatch):
    log.write_text(zeek_log(3))
    monkeypatch.setattr("tocsin.jobs.pipes.os.dup", lambda _: os.open(tmp_path, os.O_RDONLY))
    reader = inputs("-", log)
    assert names(reader) == uids(range(3))
    assert reader.report()[0].error == "-: Is a directory"
    reader.close()


def test_captures_and_tables_are_not_read_from_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = inputs(path)
    some(reader)
    with path.open("w") as writer:
        writer.write("PAR1 and more\n")
    assert some(reader) == []
    assert "write it to a file first" in reader.report()[0].error


@pytest.mark.parametrize("text", [zeek_log(25), zeek_json(25), event_log(25) + zeek_paths(9), argus_log(25)])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_live_log_grows_it_gives_the_same_records(tmp_path, text, data):
    path = tmp_path / f"live{data.draw(st.integers(0, 1 << 60))}.log"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    expected = list(inputs(_written(path, text)))
    path.write_text("")
    clock = FakeClock()
    reader = inputs(path, clock=clock, follow=True)
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        append(path, text[begin:end])
        clock.advance(1.1)
        found += some(reader)
    reader.close()
    assert by_ordinal(found) == by_ordinal(expected)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def by_ordinal(found: Iterable[Records]) -> dict[int, tuple[str, dict]]:
    rows = {}
    for records in found:
        for ordinal, row in zip(records.ordinals.tolist(), records.table.to_pylist(), strict=True):
            assert ordinal not in rows, "read twice"
            rows[ordinal] = (records.kind, {name: value for name, value in row.items() if value is not None})
    return rows


def fill(folder: Path) -> None:
    (folder / "conn.1.log").write_text(zeek_log(40))
    (folder / "conn.2.log.gz").write_bytes(gzip.compress(zeek_log(30, first=40).encode()))
    (folder / "http.log").write_text(http_log(range(70)))
    (folder / "mixed.json").write_text(event_log(30) + zeek_paths(30) + "bad\n" + event_log(3))
    log = folder / "x.log"
    log.write_text(zeek_log(20, first=5))
    pq.write_table(pa.concat_tables(batch.table for batch in ZeekSource().read(log)), folder / "flows.parquet")
    log.unlink()


@pytest.mark.parametrize("follow", [False, True])
def test_going_on_at_any_position_gives_the_rest(tmp_path, follow):
    fill(tmp_path)
    reader = inputs(tmp_path, follow=follow)
    found, positions = [], []
    while records := reader.read():
        found += records
        positions.append(json.loads(json.dumps(reader.positions())))
    reader.close()
    assert len(found) > 15
    assert len(by_ordinal(found)) == 40 + 30 + 70 + 63 + 20
    for index, position in enumerate(positions):
        again = inputs(tmp_path, follow=follow, positions=position)
        rest = some(again)
        again.close()
        assert by_ordinal(rest) == by_ordinal(found[index + 1 :])
        assert again.rejected == 1
        assert [tally.records for tally in again.report() if tally.error] == []


def test_a_log_that_was_rotated_meanwhile_is_found_under_its_new_name(tmp_path):
    log = _written(tmp_path / "conn.log", zeek_log(30))
    reader = inputs(log)
    begun = names(reader.read())
    positions = reader.positions()
    reader.close()
    append(log, zeek_row(30))
    (tmp_path / "conn.2018.log.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    log.write_text(zeek_log(5, first=100))
    again = inputs(log, positions=positions)
    assert begun + names(again) == uids([*range(31), *range(100, 105)])
    (tmp_path / "conn.2018.log.gz").unlink()
    lost = inputs(log, positions=positions)
    assert names(lost) == uids(range(100, 105))
    assert [tally.error for tally in lost.report() if tally.error] == [
        f"{log}: is gone, or another now; what came after the last position was not read"
    ]


@pytest.mark.parametrize("follow", [False, True])
def test_a_log_that_was_read_to_its_end_and_grew_is_read_on(log, follow):
    log.write_text(zeek_log(5))
    (log.parent / "conn.1.log.gz").write_bytes(gzip.compress(zeek_log(3, first=50).encode()))
    reader = inputs(log.parent)
    assert len(names(reader)) == 8
    positions = json.loads(json.dumps(reader.positions()))
    append(log, zeek_row(5))
    again = inputs(log.parent, positions=positions, follow=follow)
    assert names(some(again)) == uids([5])
    assert sorted(tally.records for tally in again.report()) == [3, 6]
    again.close()


def test_follows_a_log_through_renaming(log):
    clock = FakeClock()
    log.write_text(zeek_log(5))
    reader = inputs(log, clock=clock, follow=True)
    assert names(some(reader)) == uids(range(5))
    append(log, zeek_row(5) + zeek_row(6)[:50])
    log.rename(log.with_name("conn.old.log"))
    log.write_text(zeek_log(3, first=100))
    assert names(some(reader, 0.5)) == uids([5, 100, 101, 102])
    append(log.with_name("conn.old.log"), zeek_row(6)[50:])
    assert names(some(reader)) == uids([6])
    clock.advance(6)
    append(log, zeek_row(103))
    assert names(some(reader)) == uids([103])
    clock.advance(6)
    assert some(reader) == []
    assert len(reader._open) == 1
    reader.close()


def test_a_log_that_is_renamed_before_its_turn_comes_is_not_lost(tmp_path):
    clock = FakeClock()
    (tmp_path / "http.log").write_text(http_log(range(300)))
    log = _written(tmp_path / "conn.log", zeek_log(5, first=400))
    reader = inputs(tmp_path, clock=clock, follow=True)
    found = names(reader.read())
    log.rename(tmp_path / "conn.1.log")
    log.write_text(zeek_log(5, first=500))
    found += names(some(reader, 2))
    assert sorted(found)[:10] == sorted([*uids(range(400, 405)), *uids(range(500, 505))])
    reader.close()


def test_the_store_within_a_folder_is_left_alone(tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(2))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x.log").write_text(zeek_log(2, first=9))
    assert names(inputs(tmp_path, apart=tmp_path / "store")) == uids([0, 1])


def test_a_folder_with_rotated_logs_gives_each_record_once(tmp_path):
    clock = FakeClock()
    log = _written(tmp_path / "conn.log", zeek_log(5))
    reader = inputs(tmp_path, clock=clock, follow=True)
    found = names(some(reader))
    for turn in range(1, 4):
        append(log, zeek_row(turn * 10 + 5))
        old = log.rename(tmp_path / f"conn.{turn}.log")
        log.write_text(zeek_log(2, first=turn * 10 + 10))
        clock.advance(2)
        found += names(some(reader, 0.2))
        old.with_suffix(".log.gz").write_bytes(gzip.compress(old.read_bytes()))
        clock.advance(6)
        found += names(some(reader, 0.2))
        old.unlink()
    reader.close()
    expected = [*range(5), 15, 20, 21, 25, 30, 31, 35, 40, 41]
    assert sorted(found) == sorted(uids(expected))


@pytest.mark.parametrize("regrown", [0, 2, 60])
def test_follows_a_log_that_is_copied_and_cut_off(log, regrown):
    clock = FakeClock()
    log.write_text(zeek_log(5))
    reader = inputs(log, clock=clock, follow=True)
    assert names(some(reader)) == uids(range(5))
    append(log, zeek_row(5))
    log.with_name("conn.log.1").write_bytes(log.read_bytes())
    log.write_text(zeek_log(regrown, first=100) if regrown else "")
    found = names(some(reader, 0.2))
    if not regrown:
        log.write_text(zeek_log(2, first=100))
        clock.advance(2)
        found += names(some(reader))
    assert sorted(found) == sorted(uids([5, *range(100, 100 + (regrown or 2))]))
    reader.close()


def test_a_file_that_appears_later_joins(tmp_path):
    clock = FakeClock()
    (tmp_path / "conn.log").write_text(zeek_log(2))
    reader = inputs(tmp_path, clock=clock, follow=True)
    assert names(some(reader)) == uids([0, 1])
    new = tmp_path / "http.log"
    new.write_text(zeek_header(*HTTP))
    clock.advance(2)
    assert some(reader) == []
    append(new, f"{START}.5\tH1\th\n")
    clock.advance(2)
    assert names(some(reader)) == ["H1"]
    reader.close()


def test_a_folder_that_appears_later_is_not_missed(tmp_path):
    clock, folder = FakeClock(), tmp_path / "logs"
    reader = inputs(folder, clock=clock, follow=True)
    assert some(reader) == []
    assert [tally.error for tally in reader.report()] == [f"{folder}: No such file or directory"]
    folder.mkdir()
    (folder / "conn.log").write_text(zeek_log(2))
    clock.advance(2)
    assert names(some(reader)) == uids([0, 1])
    assert [tally.error for tally in reader.report()] == [""]
    reader.close()


def test_a_quiet_input_does_not_hold_back_the_watermark(tmp_path):
    start = datetime.fromtimestamp(START, UTC)
    clock = FakeClock(start)
    (tmp_path / "conn.log").write_text(zeek_log(1))
    (tmp_path / "http.log").write_text(http_log([0]))
    reader = inputs(tmp_path, clock=clock, follow=True)
    some(reader)
    for number in range(1, 5):
        clock.advance(60)
        append(tmp_path / "conn.log", zeek_row(number))
        some(reader)
    assert reader.watermark_us == (START + 240) * 1_000_000
    reader.close()


def test_a_record_of_tomorrow_does_not_carry_the_watermark_away(log):
    clock = FakeClock(datetime.fromtimestamp(START + 600, UTC))
    log.write_text(zeek_log(3) + zeek_row(4, ts=f"{START + 1_000_000}.0") + zeek_row(5))
    reader = inputs(log, clock=clock)
    assert len(names(reader)) == 5
    assert reader.watermark_us == (START + 600) * 1_000_000


def test_a_log_that_sleeps_is_closed_and_wakes(log):
    log.write_text(zeek_log(3))
    clock = FakeClock(datetime.fromtimestamp(log.stat().st_mtime + 7200, UTC))
    reader = inputs(log, clock=clock, follow=True)
    assert names(some(reader)) == uids(range(3))
    assert (len(reader._open), len(reader._asleep)) == (0, 1)
    assert len(reader.positions()["inputs"]) == 1
    append(log, zeek_row(3))
    assert names(some(reader)) == uids([3])
    reader.close()


def test_iterating_yields_at_least_so_often(log, monkeypatch):
    clock = FakeClock()
    log.write_text(zeek_log(1))
    reader = inputs(log, clock=clock, follow=True)
    seen = []
    for records in reader:
        seen.append(clock.monotonic())
        if len(seen) == 5:
            reader.stop()
        assert records.table.num_rows == len(records.ordinals)
    assert all(after - before <= merge.PAUSE_S + 1e-6 for before, after in pairwise(seen))
    reader.close()


def test_what_cannot_be_is_refused(log):
    with pytest.raises(InputError, match="kind 'conn'"):
        inputs(log, kind="conn")
    with pytest.raises(InputError, match="positions of format 9"):
        inputs(log, positions={"format": 9})


def test_lines_that_do_not_say_their_kind_are_of_the_kind_said(tmp_path):
    path = _written(tmp_path / "lines.json", '{"ts":1,"auth_attempts":3,"uid":"C"}\n')
    [records] = inputs(path, kind="zeek.ssh")
    assert records.kind == "zeek.ssh"


def test_the_lake_in_the_order_of_time(tmp_path):
    store, clock = MemoryStore(), FakeClock()
    for name, first in (("a", 0), ("b", 700), ("c", 3)):
        (tmp_path / f"{name}.log").write_text(zeek_log(1000, first=first))
        ingest(store, [tmp_path / f"{name}.log"], domain="d", settings=SETTINGS, clock=clock)
    found = list(lake_inputs(store, "d", clock=clock))
    assert sum(records.table.num_rows for records in found) == 3000
    assert {records.kind for records in found} == {"flow"}
    assert [records.watermark_us for records in found] == sorted(records.watermark_us for records in found)
    assert len(by_ordinal(found)) == 3000
    assert by_ordinal(lake_inputs(store, "d", clock=clock)) == by_ordinal(found)

    since, until = (datetime.fromtimestamp(START + minutes * 60, UTC) for minutes in (100, 200))
    span = list(lake_inputs(store, "d", clock=clock, since=since, until=until))
    assert len(names(span)) == 200
    assert set(by_ordinal(span)) < set(by_ordinal(found))
    day = list(lake_inputs(store, "d", clock=clock, days=[date(2018, 12, 21)]))
    assert {value.date() for records in day for value in records.table.column("stime").to_pylist()} == {
        date(2018, 12, 21)
    }
    reader = lake_inputs(store, "d", clock=clock)
    reader.read()
    assert reader.positions()["inputs"]


def test_a_command_that_pipes(tmp_path):
    code = (
        "from tocsin.jobs.inputs import Inputs\nfrom tocsin.clock import SystemClock\n"
        "from tocsin.settings import IngestSettings\n"
        "found = list(Inputs(['-'], settings=IngestSettings(), clock=SystemClock()))\n"
        "print(sum(records.table.num_rows for records in found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=zeek_log(5000), capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "5000"


@pytest.mark.parametrize("folder", ["zat", "rita-proxy", "rita-open_conns", "rita-truncated", "rita-text_file"])
def test_real_logs(data, folder):
    reader = inputs(data / "zeek" / folder)
    found = list(reader)
    tallies = reader.report()
    assert sum(records.table.num_rows for records in found) == sum(tally.records for tally in tallies)
    assert [records.watermark_us for records in found] == sorted(records.watermark_us for records in found)
    if folder == "zat":
        kinds = {records.kind.partition(".")[2] for records in found}
        assert {"dns", "http", "ssl", "x509", "weird", "notice", "smtp", "ftp", "files", "dhcp"} <= kinds
        assert any("is the same log as" in warning for tally in tallies for warning in tally.warnings)
