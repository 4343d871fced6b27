"""JSON lines of Zeek's logs as records."""

import pyarrow as pa

from tocsin.records.flow import MANDATORY
from tocsin.records.logs import LogRows
from tocsin.records.maps import ZEEK_CONN, ZEEK_CONN_TYPES, kept
from tocsin.records.rows import Rows
from tocsin.records.zeek_types import field_type
from tocsin.sources.jsonlines import JsonColumn, read_json_lines
from tocsin.sources.lines import Taken, take

THEIRS = {field.name: theirs for theirs, field in ZEEK_CONN.items() if field.name in MANDATORY}
_LABEL = "_path"


def take_conn(data: bytes) -> Taken:
    """Return conn.log's records as flows."""
    columns, numbers, wrong = read_json_lines(data, flatten=("id",))
    rows = Rows(len(numbers))
    for theirs in (THEIRS[name] for name in MANDATORY):
        columns.setdefault(theirs, JsonColumn(pa.nulls(rows.count, pa.string()), "string"))
    for name, column in columns.items():
        if name != _LABEL:
            type_ = ZEEK_CONN_TYPES.get(name, column.guess)
            rows.read(name, column.text, ZEEK_CONN.get(name) or kept(name, type_, "zeek"))
    if rows.count:
        rows.require(THEIRS)
        rows.check_addresses()
    return take(rows, numbers, wrong)


def take_log(data: bytes, log: str) -> Taken:
    """Return another log's records; a field that is null in every line, and of no known type, is left out."""
    columns, numbers, wrong = read_json_lines(data, flatten=("id",))
    rows = LogRows(len(numbers))
    for name, column in columns.items():
        type_ = field_type(log, name) or column.guess
        if name != _LABEL and type_ != "null":
            rows.add(name, column.values, type_)
    rows.require_time("ts")
    return take(rows, numbers, wrong)
