"""Each row comes into the lake once, whatever happens in between."""

import gzip
import io
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tocsin.errors import ConflictError
from tocsin.jobs.ingest import IngestResult, ingest
from tocsin.settings import IngestSettings
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.clock import FakeClock
from tocsin.testing.logs import argus_log, eve_log, zeek_header, zeek_json, zeek_log, zeek_row
from tocsin.testing.store import MemoryStore


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def run(store: MemoryStore, *paths: Path | str, growing: bool = False, **options) -> IngestResult:
    settings = IngestSettings(**{"chunk_mb": 1, "workers": 1, **options})
    return ingest(store, paths, domain="d", settings=settings, clock=FakeClock(), growing=growing)


def lake(store: MemoryStore) -> list[str]:
    """The flow ids in the lake, sorted."""
    ids: list[str] = []
    for info in store.list("d/v2/"):
        ids += pq.read_table(io.BytesIO(store.objects[info.path][0]), columns=["flowid"]).column("flowid").to_pylist()
    return sorted(ids)


def ids(first: int, stop: int) -> list[str]:
    return [f"C{number:016d}" for number in range(first, stop)]


@pytest.fixture
def small_pieces(monkeypatch):
    """Blocks of a few rows, and a piece of the lake for each."""
    monkeypatch.setattr(
        "tocsin.jobs.discover.make_source",
        lambda name, settings: ZeekSource(block_bytes=900) if name == "zeek" else None,
    )
    monkeypatch.setattr("tocsin.jobs.ingest.MIB", 1)


def test_a_file_lands_by_day_and_once(tmp_path):
    log = tmp_path / "conn.log"
    log.write_text(zeek_log(1000))  # from 14:50, a minute apart: two days
    store = MemoryStore()
    result = run(store, log)
    assert (result.rows, result.files[0].status, result.days) == (1000, "new", ["2018-12-21", "2018-12-22"])
    paths = [info.path for info in store.list("d/v2/")]
    assert [path.rpartition("/")[0] for path in paths] == [
        "d/v2/year=2018/month=12/day=21",
        "d/v2/year=2018/month=12/day=22",
    ]
    metadata = pq.read_schema(io.BytesIO(store.objects[paths[0]][0])).metadata
    assert metadata[b"tocsin.source"] == b"zeek"
    assert metadata[b"tocsin.domain"] == b"d"
    puts = store.puts
    again = run(store, log)
    assert (again.rows, again.files[0].status, store.puts) == (0, "unchanged", puts)
    assert lake(store) == ids(0, 1000)


@pytest.mark.parametrize("pack", ["plain", "gzip", "zstd"])
def test_only_what_was_added_is_read(tmp_path, pack):
    packers = {"plain": bytes, "gzip": gzip.compress, "zstd": lambda data: zstandard.ZstdCompressor().compress(data)}
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_bytes(packers[pack](zeek_log(100).encode()))
    run(store, log)
    log.write_bytes(packers[pack](zeek_log(150).encode()))
    result = run(store, log)
    assert (result.rows, result.files[0].status) == (50, "grown")
    assert lake(store) == ids(0, 150)


def test_a_renamed_and_packed_file_is_the_same_file(tmp_path):
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_text(zeek_log(60))
    run(store, log)
    (tmp_path / "conn.2018-12-21-14.log.gz").write_bytes(gzip.compress(zeek_log(80).encode()))
    log.write_text(zeek_log(30, first=500))
    result = run(store, tmp_path)
    assert sorted((file.status, file.rows) for file in result.files) == [("grown", 20), ("new", 30)]
    assert lake(store) == ids(0, 80) + ids(500, 530)
    assert run(store, tmp_path).rows == 0


def test_of_a_changed_file_only_new_rows_are_taken(tmp_path):
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_text(zeek_log(50))
    run(store, log)
    lines = zeek_log(60).splitlines(keepends=True)
    log.write_text("".join(lines[:20] + lines[30:]))  # ten rows are gone, ten came
    result = run(store, log)
    assert (result.rows, result.files[0].status) == (10, "changed")
    assert lake(store) == ids(0, 60)
    log.write_text(zeek_log(70))  # what was cut out is back, and more
    assert run(store, log).rows == 10
    assert lake(store) == ids(0, 70)


def test_a_changed_parquet_file_gives_its_new_rows(tmp_path):
    log, path, store = tmp_path / "conn.log", tmp_path / "flows.parquet", MemoryStore()
    for count, expected, status in ((40, 40, "new"), (40, 0, "unchanged"), (55, 15, "changed"), (55, 0, "unchanged")):
        log.write_text(zeek_log(count))
        pq.write_table(pa.concat_tables(batch.table for batch in ZeekSource().read(log)), path)
        result = run(store, path)
        assert (result.rows, result.files[0].status) == (expected, status)
    moved = tmp_path / "moved.parquet"
    shutil.copy(path, moved)
    assert run(store, moved).rows == 0
    assert lake(store) == ids(0, 55)


def test_killed_before_any_put_and_run_again_equals_undisturbed(tmp_path, small_pieces):
    log = tmp_path / "conn.log"
    log.write_text(zeek_log(40) + "bad row\n" + zeek_row(40))
    undisturbed = MemoryStore()
    run(undisturbed, log)
    assert len(undisturbed.list("d/v2/")) > 4
    wanted = {path for path in undisturbed.objects if "/v2/" in path or "/rejected/" in path}
    for deadly in range(1, undisturbed.puts + 1):
        store = MemoryStore()

        def die(path: str, store: MemoryStore = store, deadly: int = deadly) -> None:
            if store.puts + 1 == deadly:
                raise KilledError

        store.before_put = die
        with pytest.raises(KilledError):
            run(store, log)
        store.before_put = None
        run(store, log)
        assert lake(store) == ids(0, 41), deadly
        assert {path for path in store.objects if "/v2/" in path or "/rejected/" in path} == wanted
        assert json.loads(next(data for path, (data, *_) in store.objects.items() if "/ingest/" in path))["rows"] == 41


def test_killed_while_the_file_grew_neither_loses_nor_doubles(tmp_path, small_pieces):
    log = tmp_path / "conn.log"
    for deadly in range(1, 30):
        log.write_text(zeek_log(21))
        store = MemoryStore()

        def die(path: str, store: MemoryStore = store, deadly: int = deadly) -> None:
            if store.puts + 1 == deadly:
                raise KilledError

        store.before_put = die
        try:
            run(store, log)
        except KilledError:
            store.before_put = None
        log.write_text(zeek_log(33))
        store.before_put = None
        run(store, log)
        assert lake(store) == ids(0, 33), deadly


def test_two_at_once_do_not_double(tmp_path, small_pieces):
    log = tmp_path / "conn.log"
    log.write_text(zeek_log(40))
    for moment in range(1, 40, 3):
        store = MemoryStore()

        def interleave(path: str, store: MemoryStore = store, moment: int = moment) -> None:
            if store.puts + 1 == moment:
                store.before_put = None
                run(store, log)

        store.before_put = interleave
        run(store, log)
        assert lake(store) == ids(0, 40), moment


def test_the_check_finds_a_store_without_compare_and_swap(tmp_path, small_pieces):
    """Planted fault: without conditional put the log that grew in between comes out wrong or is seen to conflict."""

    class Careless(MemoryStore):
        def put(self, path, data, *, create=False, if_match=None):
            return super().put(path, data)

    log = tmp_path / "conn.log"
    outcomes = set()
    for moment in range(1, 16):
        log.write_text(zeek_log(21))
        store = Careless()

        def interleave(path: str, store: MemoryStore = store, moment: int = moment) -> None:
            if store.puts + 1 == moment:
                store.before_put = None
                log.write_text(zeek_log(33))
                run(store, log)

        store.before_put = interleave
        run(store, log)
        run(store, log)
        outcomes.add(lake(store) == ids(0, 33))
    assert False in outcomes


def test_a_lost_race_is_not_an_error(tmp_path):
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_text(zeek_log(5))
    lost = []

    def lose(path: str) -> None:
        if "/ingest/" in path and len(lost) < 3:
            lost.append(path)
            raise ConflictError("somebody else")

    store.before_put = lose
    assert run(store, log).rows == 5


def test_bad_rows_are_kept_with_file_line_and_reason(tmp_path):
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_text(zeek_log(3) + zeek_row(9, **{"id.resp_p": "70000"}) + zeek_row(4))
    result = run(store, log)
    assert (result.rows, result.rejected, result.exit_code) == (4, 1, 0)
    [path] = [path for path in store.objects if "/rejected/" in path]
    assert result.files[0].rejected_at == [f"memory://{path}"]
    entry = json.loads(store.objects[path][0])
    assert (entry["file"], entry["line"]) == (str(log), 12)
    assert "id.resp_p '70000' is not a port" in entry["reason"]
    assert entry["text"].startswith("1545")


def test_what_cannot_be_used_is_said_and_the_others_go_on(tmp_path):
    files = {
        "conn.log": zeek_log(5),
        "empty.log": "",
        "prose.log": "Lorem ipsum dolor sit amet\n" * 20,
        "http.log": zeek_header(["ts", "uid", "host"], ["time", "string", "string"], path="http") + "1\tC1\tx\n",
        "lacks.log": zeek_header(["ts", "uid", "proto"], ["time", "string", "enum"]) + "1\tC1\ttcp\n",
        "eve.json": eve_log(3),
        "json.log": zeek_json(4),
        "a.binetflow": argus_log(2),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "junk.log").write_bytes(os.urandom(5000))
    result = run(MemoryStore(), *sorted(tmp_path.iterdir()), tmp_path / "absent.log", str(tmp_path / "*.nothing"))
    assert (result.rows, result.exit_code) == (14, 3)
    errors = {Path(file.path).name: file.error for file in result.failed}
    assert set(errors) == {"empty.log", "prose.log", "http.log", "lacks.log", "junk.log", "absent.log", "*.nothing"}
    assert "is empty" in errors["empty.log"]
    assert "no log that is known" in errors["prose.log"]
    assert "holds http records; flows come from conn.log" in errors["http.log"]
    assert "id.orig_h, id.resp_h are missing" in errors["lacks.log"]
    assert "No such file" in errors["absent.log"]
    assert all("\n" not in error for error in errors.values())
    folder = run(MemoryStore(), tmp_path)
    assert {file.status for file in folder.files if Path(file.path).name == "http.log"} == {"skipped"}


def test_a_log_with_nothing_but_its_header_is_no_failure(tmp_path):
    log, store = tmp_path / "conn.log", MemoryStore()
    log.write_text(zeek_header())
    result = run(store, log)
    assert (result.rows, result.exit_code, result.files[0].status) == (0, 0, "unchanged")
    assert run(store, log, growing=True).files[0].status == "waiting"
    log.write_text(zeek_log(3))
    assert run(store, log).rows == 3


def test_truncated_gzip_is_read_on_when_it_is_complete(tmp_path):
    log, store = tmp_path / "conn.log.gz", MemoryStore()
    packed = gzip.compress(zeek_log(3000).encode())
    log.write_bytes(packed[: len(packed) // 2])
    result = run(store, log)
    assert 0 < result.rows < 3000
    assert "breaks off" in result.files[0].warnings[0]
    assert result.exit_code == 0
    log.write_bytes(packed)
    assert run(store, log).rows == 3000 - result.rows
    assert lake(store) == ids(0, 3000)


def test_a_csv_map_is_found_by_its_columns(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("when,kind,from,to,secs\n2020-01-01 00:00:00,TCP,10.0.0.1,10.0.0.2,1.5\n")
    columns = {"stime": "when", "proto": "kind", "saddr": "from", "daddr": "to", "dur": "secs::DOUBLE * 1000"}
    store = MemoryStore()
    assert run(store, path, csv={"mine": columns}).rows == 1
    [info] = store.list("d/v2/")
    assert pq.read_table(io.BytesIO(store.objects[info.path][0])).column("dur").to_pylist() == [1500]


def test_real_logs_good_and_bad(data):
    result = run(MemoryStore(), data / "zeek", data / "flows")
    failed = {"/".join(Path(file.path).parts[-2:]) for file in result.failed}
    assert failed == {"rita-text_file/conn.log", "rita-truncated/conn_top.log"}
    rows = {"/".join(Path(file.path).parts[-2:]): file.rows for file in result.files}
    assert rows["flows/iot23-34-1.conn.log.labeled.gz"] == 23145
    assert rows["flows/suricata-eve.json.gz"] == 3512
    assert rows["flows/argus-malicious.binetflow.gz"] == 6751


def test_rows_set_aside_by_a_wrong_map_are_read_again_with_the_right_one(tmp_path):
    path, store = tmp_path / "n.csv", MemoryStore()
    path.write_text(
        "ts,td,sa,da,pr\n" + "".join(f"2024-01-01 00:00:{i:02d},1.5,10.0.0.{i},1.1.1.1,TCP\n" for i in range(9))
    )
    wrong = {"stime": "ts", "dur": "td", "saddr": "sa", "daddr": "da", "proto": "pr"}
    right = {**wrong, "dur": "td::DOUBLE * 1000"}

    def read(columns: dict[str, str]) -> tuple[str, int, int]:
        settings = IngestSettings(csv={"nf": columns})
        result = ingest(store, [path], domain="d", settings=settings, clock=FakeClock(), format="csv:nf")
        return result.files[0].status, result.rows, result.rejected

    assert read(wrong) == ("new", 0, 9)
    assert read(wrong) == ("unchanged", 0, 0)
    assert read(right) == ("changed", 9, 0)
    assert read(wrong) == read(right) == ("unchanged", 0, 0)  # what is in the lake stays as it is


def test_parquet_set_aside_is_read_again_with_other_names(tmp_path):
    path, store = tmp_path / "n.parquet", MemoryStore()
    stime = pa.array([1_700_000_000_000_000], pa.timestamp("us", "UTC"))
    columns = {"a": [70_000], "b": [53], "saddr": ["10.0.0.1"], "daddr": ["1.1.1.1"], "proto": ["udp"]}
    pq.write_table(pa.table({"stime": stime, **columns}), path)
    assert run(store, path, rename={"a": "dport"}).rejected == 1
    assert run(store, path, rename={"b": "dport"}).rows == 1


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "conn.log")
    result = run(MemoryStore(), tmp_path / "conn.log")
    assert "is a pipe" in result.files[0].error
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zeek_log(3).encode("utf-16"), "it is UTF-16"),
        (zeek_log(3).encode("utf-8-sig"), "byte order mark"),
        (b"\x28\xb5\x2f\xfdgarbage", "zstd data is corrupt"),
    ],
)
def test_a_file_in_another_coding_is_refused_with_a_remedy(tmp_path, data, words):
    (tmp_path / "conn.log").write_bytes(data)
    result = run(MemoryStore(), tmp_path / "conn.log")
    assert words in result.files[0].error
    assert not result.rows
