"""Suricata's EVE JSON: the events of type `flow`."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.flow import MANDATORY
from tocsin.records.maps import EVE_FLOW, kept
from tocsin.records.rows import Rows
from tocsin.sources.blocks import Block
from tocsin.sources.jsonlines import JsonColumn, json_object, read_json_lines
from tocsin.sources.lines import NOTHING, LineSource, Parsed, Piece, Titled, first_line, rejected_rows, rejections

_THEIRS = {field.name: theirs for theirs, field in EVE_FLOW.items() if field.name in MANDATORY}
_DROPPED = ("timestamp", "event_type")
_FLATTENED = ("flow", "tcp")
_FLAGS = "FSRPAUEC"  # bit 0 first


class EveSource(LineSource):
    """Reads flow events as flows; other events are counted as skipped, what is no JSON is set aside.

    Delivery: each event once, in the order of the file, from any line on. Times carry an offset and become UTC.
    For ICMP the type and code stand as ports.
    Specification: https://docs.suricata.io, "EVE JSON Format".
    """

    name = "eve"

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A JSON record with `event_type` and `timestamp`."""
        record = json_object(first_line(head))
        return record is not None and "event_type" in record and "timestamp" in record

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """EVE has no header."""
        return [(block, header)], header

    def parse(self, path: Path, piece: Piece) -> Parsed:
        """Turn the flow events among the lines into flows."""
        chosen, numbers, wrong, skipped = _flow_lines(piece.data)
        if not chosen:
            return Parsed(NOTHING, rejections(piece, wrong), skipped)
        columns, found, bad = read_json_lines(b"\n".join(chosen), flatten=_FLATTENED)
        wrong += [(numbers[number], reason) for number, reason in bad]
        if not len(found):
            return Parsed(NOTHING, rejections(piece, wrong), skipped)
        rows = _rows(columns, len(found))
        lines = np.array(numbers, np.int64)[found]
        reasons = rejected_rows(rows, lines) + wrong
        return Parsed(rows.table(), rejections(piece, reasons), skipped)


def _flow_lines(data: bytes) -> tuple[list[bytes], list[int], list[tuple[int, str]], int]:
    """Return the lines with flow events, their numbers, the lines that are no event, and how many are other events."""
    chosen, numbers, skipped = [], [], 0
    wrong: list[tuple[int, str]] = []
    for number, line in enumerate(data.split(b"\n")):
        if b'"event_type":"flow"' in line or b'"event_type": "flow"' in line:
            chosen.append(line)
            numbers.append(number)
        elif line.startswith(b"{") and line.rstrip().endswith(b"}") and b'"event_type"' in line:
            skipped += 1
        elif line.strip():
            record = json_object(line)
            if record is None or "event_type" not in record:
                wrong.append((number, "no EVE event"))
            else:
                skipped += 1
    return chosen, numbers, wrong, skipped


def _rows(columns: dict[str, JsonColumn], count: int) -> Rows:
    rows = Rows(count)
    for theirs in _THEIRS.values():
        columns.setdefault(theirs, JsonColumn(pa.nulls(count, pa.string()), "string"))
    _icmp_as_ports(columns, count)
    for name, column in columns.items():
        if name not in _DROPPED:
            rows.read(name, column.text, EVE_FLOW.get(name) or kept(name, column.guess, "eve"))
    if "tcp.tcp_flags" in rows.columns:
        rows.columns["uflags"] = _flag_letters(rows.columns["tcp.tcp_flags"])
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
