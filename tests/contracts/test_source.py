"""One suite over every registered source."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import InputError
from tocsin.records.flow import FLOW, MANDATORY
from tocsin.source import SOURCES, Batch, load_source
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.logs import argus_log, csv_log, eve_log, event_log, zeek_json, zeek_log

ROWS = 40


def _parquet(path: Path) -> None:
    log = path.with_name("for-parquet.log")
    log.write_text(zeek_log(ROWS))
    pq.write_table(pa.concat_tables(batch.table for batch in ZeekSource().read(log)), path)


TEXTS = {
    "zeek": zeek_log,
    "zeek-json": zeek_json,
    "eve": eve_log,
    "argus": argus_log,
    "csv": csv_log,
    "ndjson": event_log,
}
SAMPLES = [*TEXTS, "parquet"]
BAD = {"zeek": "x\ty\n", "zeek-json": '{"ts":1\n', "eve": "no json\n", "argus": "1,2,3\n", "csv": "1,2,3\n"}
BAD["ndjson"] = '{"level":"none"}\n'
FLOWS = [name for name in SAMPLES if name != "ndjson"]


def sample(name: str, folder: Path) -> Path:
    path = folder / f"{name}.sample"
    if name == "parquet":
        _parquet(path)
    else:
        path.write_text(TEXTS[name](ROWS))
    return path


def make(name: str, **options: object):
    kind = load_source(name.partition("-")[0])
    small = {"block_bytes": 700} if kind.appendable else {"batch_rows": 7}
    return kind(**{**small, **options})


def rows(batches: list[Batch]) -> list[dict]:
    return [
        {name: value for name, value in row.items() if value is not None}
        for batch in batches
        for row in batch.table.to_pylist()
    ]


def test_every_source_is_covered():
    assert {name.partition("-")[0] for name in SAMPLES} | {"pcap"} == set(SOURCES)


@pytest.mark.parametrize("name", SAMPLES)
def test_recognises_its_own_sample_and_no_other(name, tmp_path):
    for other in SAMPLES:
        path = sample(other, tmp_path)
        head = path.read_bytes()[:65536]
        assert load_source(name.partition("-")[0]).recognises(head, path) == (
            other.partition("-")[0] == name.partition("-")[0]
        )


@pytest.mark.parametrize("name", FLOWS)
def test_yields_canonical_flows(name, tmp_path):
    batches = list(make(name).read(sample(name, tmp_path)))
    assert sum(batch.table.num_rows for batch in batches) == ROWS
    for batch in batches:
        assert batch.kind == "flow"
        for column in batch.table.schema:
            if column.name in FLOW:
                assert column.type == FLOW[column.name].type, column.name
        for column in (*MANDATORY, "flowid", "community_id"):
            if batch.table.num_rows:
                assert batch.table.column(column).null_count == 0


@pytest.mark.parametrize("name", TEXTS)
def test_each_record_has_its_line(name, tmp_path):
    path = tmp_path / "lines.log"
    lines = TEXTS[name](ROWS).splitlines(keepends=True)
    lines.insert(20, BAD[name])
    path.write_text("".join(lines))
    header = [text for text in lines[:9] if text.startswith("#")] or lines[:1] * (name in ("argus", "csv"))
    for batch in make(name).read(path):
        assert len(batch.lines) == batch.table.num_rows
        for line, row in zip(batch.lines.tolist(), rows([batch]), strict=True):
            alone = tmp_path / "alone.log"
            alone.write_text("".join([*header, lines[line - 1]]))
            assert rows(list(make(name).read(alone))) == [row]


@pytest.mark.parametrize("name", SAMPLES)
def test_resuming_at_any_position_equals_reading_on(name, tmp_path):
    path = sample(name, tmp_path)
    batches = list(make(name).read(path))
    assert len(batches) > 2
    for index, batch in enumerate(batches):
        position = json.loads(json.dumps(batch.position))  # plain values
        assert rows(list(make(name).read(path, position))) == rows(batches[index + 1 :])
        assert rows(list(make(name).read(path, None, until=position))) == rows(batches[: index + 1])


@pytest.mark.parametrize("name", TEXTS)
def test_batch_size_and_threads_do_not_change_the_rows(name, tmp_path):
    path = sample(name, tmp_path)
    whole = rows(list(make(name, block_bytes=1 << 20).read(path)))
    assert rows(list(make(name, block_bytes=300, workers=3).read(path))) == whole


@pytest.mark.parametrize("name", TEXTS)
def test_a_bad_row_is_set_aside_with_its_line(name, tmp_path):
    path = tmp_path / "bad.log"
    lines = TEXTS[name](ROWS).splitlines(keepends=True)
    lines.insert(20, BAD[name])
    path.write_text("".join(lines))
    batches = list(make(name).read(path))
    rejected = [row for batch in batches for row in batch.rejected]
    assert [(row.line, row.text) for row in rejected] == [(21, BAD[name].rstrip())]
    assert rejected[0].reason
    assert sum(batch.rejected_count for batch in batches) == 1
    assert len(rows(batches)) == ROWS


@pytest.mark.parametrize("name", TEXTS)
def test_an_empty_file_is_refused_in_one_line(name, tmp_path):
    path = tmp_path / "empty.log"
    path.touch()
    with pytest.raises(InputError, match="empty"):
        list(make(name).read(path))
    assert not list(make(name).read(path, growing=True))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(InputError, match=r"absent\.log"):
        list(make(name).read(tmp_path / "absent.log"))


@pytest.mark.parametrize("name", TEXTS)
def test_a_truncated_gzip_gives_the_rows_before_the_break_and_a_warning(name, tmp_path):
    path = tmp_path / "broken.gz"
    packed = gzip.compress(TEXTS[name](4000).encode(), mtime=0)
    path.write_bytes(packed[: len(packed) // 2])
    batches = list(make(name, block_bytes=1 << 16).read(path))
    assert 0 < len(rows(batches)) < 4000
    assert [warning for batch in batches for warning in batch.warnings if "breaks off" in warning]
    path.write_bytes(packed)
    rest = list(make(name, block_bytes=1 << 16).read(path, batches[-1].position))
    assert len(rows(batches)) + len(rows(rest)) == 4000


@pytest.mark.parametrize("name", TEXTS)
def test_an_unfinished_last_line_waits_while_the_file_grows(name, tmp_path):
    path = tmp_path / "live.log"
    text = TEXTS[name](ROWS)
    path.write_text(text[:-15])
    batches = list(make(name).read(path, growing=True))
    assert len(rows(batches)) == ROWS - 1
    path.write_text(text)
    assert len(rows(list(make(name).read(path, batches[-1].position, growing=True)))) == 1


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_bytes_only_input_errors_come_out(name, tmp_path, data):
    good = sample(name, tmp_path).read_bytes()
    kind = data.draw(st.sampled_from(["noise", "cut", "replaced", "inserted"]))
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=60))
    parts = {
        "noise": junk,
        "cut": good[:at],
        "replaced": good[:at] + junk + good[at + len(junk) :],
        "inserted": good[:at] + junk + good[at:],
    }
    path = tmp_path / "fuzz.log"
    path.write_bytes(parts[kind])
    try:
        for batch in make(name).read(path):
            assert len(batch.rejected) == batch.rejected_count
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most examples raise nothing


_CELLS = st.sampled_from(
    [
        "-",
        "",
        "1",
        "tcp",
        "1545403816.1",
        "99999999999",
        "-5",
        "nan",
        "1e400",
        "0x1",
        "fe80::1",
        "1.2.3.4",
        "65536",
        "(empty)",
        "18446744073709551616",
        "\\x41\\xff",
        "T",
        "é",
        '"',
        "2018-12-21T14:50:16.96Z",
        "\\",
        "{}",
        "[1]",
        "null",
        "true",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.lists(_CELLS, min_size=21, max_size=21), max_size=6))
@pytest.mark.parametrize("name", ["zeek", "argus", "csv"])
def test_odd_values_are_set_aside_or_read(name, tmp_path, cells):
    header = TEXTS[name](0).splitlines(keepends=True)
    width = {"zeek": 21, "argus": 16, "csv": 9}[name]
    path = tmp_path / "odd.log"
    mark = "\t" if name == "zeek" else ","
    path.write_text(
        "".join(header) + "".join(mark.join(row[:width]) + "\n" for row in cells) + TEXTS[name](1).splitlines()[-1]
    )
    batches = list(make(name).read(path))
    assert len(rows(batches)) >= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(
        st.sampled_from(
            ["ts", "uid", "id.orig_h", "id", "proto", "duration", "orig_bytes", "x", "flow", "src_ip", "proto"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
@pytest.mark.parametrize("name", ["zeek-json", "eve", "ndjson"])
def test_odd_json_is_set_aside_or_read(name, tmp_path, values):
    lines = TEXTS[name](3).splitlines()
    record = {**json.loads(lines[-1]), **values}
    path = tmp_path / "odd.json"
    path.write_text("\n".join([*lines[:-1], json.dumps(record), lines[-1]]) + "\n")
    batches = list(make(name).read(path))
    assert len(rows(batches)) >= 3
