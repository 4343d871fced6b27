"""JSON lines of Suricata as records."""

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.flow import MANDATORY
from tocsin.records.logs import LogRows
from tocsin.records.maps import EVE_FLOW, EVE_TYPES, kept
from tocsin.records.rows import Rows
from tocsin.sources.jsonlines import JsonColumn, read_json_lines
from tocsin.sources.lines import Taken, take

_THEIRS = {field.name: theirs for theirs, field in EVE_FLOW.items() if field.name in MANDATORY}
_DROPPED = ("timestamp", "event_type")
_FLATTENED = ("flow", "tcp")
_FLAGS = "FSRPAUEC"  # bit 0 first


def take_other(data: bytes) -> Taken:
    """Return events other than flows: nested fields flattened by dots, `timestamp` the time."""
    columns, numbers, wrong = read_json_lines(data, flatten=None)
    rows = LogRows(len(numbers))
    for name, column in columns.items():
        type_ = EVE_TYPES.get(name, column.guess)
        if type_ != "null":
            rows.add(name, column.values, type_)
    rows.require_time("timestamp")
    return take(rows, numbers, wrong)


def take_flows(data: bytes) -> Taken:
    """Return flow events as flows."""
    columns, numbers, wrong = read_json_lines(data, flatten=_FLATTENED)
    return take(_flow_rows(columns, len(numbers)), numbers, wrong)


def _flow_rows(columns: dict[str, JsonColumn], count: int) -> Rows:
    rows = Rows(count)
    for theirs in _THEIRS.values():
        columns.setdefault(theirs, JsonColumn(pa.nulls(count, pa.string()), "string"))
    _icmp_as_ports(columns, count)
    for name, column in columns.items():
        if name not in _DROPPED:
            rows.read(name, column.text, EVE_FLOW.get(name) or kept(name, column.guess, "eve"))
    if "tcp.tcp_flags" in rows.columns:
        rows.columns["uflags"] = _flag_letters(rows.columns["tcp.tcp_flags"])
    if count:
        rows.require(_THEIRS)
        rows.check_addresses()
    return rows


def _icmp_as_ports(columns: dict[str, JsonColumn], count: int) -> None:
    nulls = JsonColumn(pa.nulls(count, pa.string()), "string")
    for theirs, port in (("icmp_type", "src_port"), ("icmp_code", "dest_port")):
        if theirs in columns:
            given = columns.get(port, nulls).text
            columns[port] = JsonColumn(pc.coalesce(given, columns[theirs].text), "int")


def _flag_letters(flags: pa.Array) -> pa.Array:
    """Return TCP flags as letters: the hexadecimal `1b` as `FSPA`."""
    coded = flags.dictionary_encode()
    letters = pa.array([_letters(value) for value in coded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(coded.indices, letters).dictionary_decode()


def _letters(value: str) -> str | None:
    try:
        bits = int(value, 16)
    except ValueError:
        return None
    return "".join(letter for bit, letter in enumerate(_FLAGS) if bits >> bit & 1)
