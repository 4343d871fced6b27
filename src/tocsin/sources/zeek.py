"""Zeek logs: the tab-separated format with its header, and JSON lines."""

import codecs
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError
from tocsin.records.flow import MANDATORY
from tocsin.records.maps import ZEEK_CONN, ZEEK_CONN_TYPES, kept
from tocsin.records.rows import Rows
from tocsin.sources.blocks import Block
from tocsin.sources.jsonlines import JsonColumn, json_object, read_json_lines
from tocsin.sources.lines import (
    NOTHING,
    LineSource,
    Parsed,
    Piece,
    Titled,
    first_line,
    missing,
    read_table,
    rejected_rows,
    rejections,
)

_THEIRS = {field.name: theirs for theirs, field in ZEEK_CONN.items() if field.name in MANDATORY}
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_CONN_ONLY = ("conn_state", "orig_pkts", "orig_ip_bytes", "missed_bytes", "history")


class ZeekSource(LineSource):
    """Reads conn.log as flows.

    Delivery: each row once, in the order of the file, from any line on. Text format: types, separators and the
    marks of unset and empty fields come from the header, which may change anywhere in the file (rotated logs put
    one behind the other). The labelled captures of IoT-23, whose last column joins three by three spaces, are read
    as three. JSON: a record a line, times as seconds or ISO 8601.
    Specification: https://docs.zeek.org, "Log Files"; writers ascii and json of the logging framework.
    """

    name = "zeek"

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A `#separator` or `#fields` line at the beginning, or a JSON record with `ts` and a Zeek field."""
        line = first_line(head)
        if line.startswith((b"#separator", b"#fields", b"#set_separator")):
            return True
        record = json_object(line)
        return record is not None and "event_type" not in record and ("ts" in record or "_path" in record)

    def kind(self, head: bytes, path: Path) -> str:
        """Return `flow` for conn.log, `zeek.<path>` for the other logs."""
        log = _json_kind(head, path) if first_line(head).startswith(b"{") else _text_kind(head, path)
        return "flow" if log == "conn" else f"zeek.{log}"

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Cut at the lines that begin with #."""
        if not header:
            header = {"json": first_line(block.data).startswith(b"{")}
            if header["json"] and (log := _json_kind(block.data, path)) != "conn":
                raise _other_log(path, log)
        if header["json"]:
            return [(block, header)], header
        titled: list[Titled] = []
        start, line, data = 0, block.line, block.data
        while start < len(data):
            if data.startswith(b"#", start):
                stop = data.find(b"\n", start) + 1 or len(data)
                header = _read_header(path, header, data[start:stop].rstrip(b"\r\n"))
            else:
                found = data.find(b"\n#", start) if data.find(b"#", start) >= 0 else -1  # one byte is found faster
                stop = found + 1 if found >= 0 else len(data)
                terminated = block.terminated or stop < len(data)
                _check_fields(path, header, line)
                titled.append((Block(block.offset + start, line, data[start:stop], terminated), header))
            if stop < len(data):
                line += data.count(b"\n", start, stop)
            start = stop
        return titled, header

    def parse(self, path: Path, piece: Piece) -> Parsed:
        """Turn lines into flows."""
        return _parse_json(piece) if piece.header["json"] else _parse_text(piece)


def _text_kind(head: bytes, path: Path) -> str:
    for line in head.split(b"\n"):
        if line.startswith(b"#path"):
            return line[6:].strip().decode(errors="replace")
    return path.name.partition(".")[0]


def _json_kind(head: bytes, path: Path) -> str:
    record = json_object(first_line(head)) or {}
    if "_path" in record:
        return str(record["_path"])
    if any(name in record for name in _CONN_ONLY):
        return "conn"
    name = path.name.partition(".")[0]
    return name if name != "conn" else "unknown"


def _other_log(path: Path, log: str) -> InputError:
    return InputError(f"{path}: holds {log} records; flows come from conn.log")


def _read_header(path: Path, header: dict[str, Any], line: bytes) -> dict[str, Any]:
    """Return the header with one more line; a #fields line begins the columns anew."""
    if line.startswith(b"#separator"):
        mark = _unescape_separator(line[len(b"#separator") :].strip(b" \t"))
        return {"json": False, "separator": mark or "\t"}
    separator = header.get("separator", "\t")
    key, _, value = line[1:].decode(errors="backslashreplace").partition(separator)
    if key == "path":
        if value != "conn":
            raise _other_log(path, value)
    elif key == "fields":
        return {**header, "fields": value.split(separator), "types": []}
    elif key == "types":
        return {**header, "types": value.split(separator)}
    elif key in ("set_separator", "empty_field", "unset_field"):
        return {**header, key: value}
    return header


def _unescape_separator(mark: bytes) -> str:
    return codecs.decode(mark, "unicode_escape") if _ESCAPE.fullmatch(mark) else mark.decode(errors="replace")


def _check_fields(path: Path, header: dict[str, Any], line: int) -> None:
    if not header.get("fields"):
        raise InputError(f"{path}:{line}: has no #fields line before its rows; Zeek's header must come with the rows")
    absent = [_THEIRS[name] for name in MANDATORY if _THEIRS[name] not in header["fields"]]
    if absent:
        raise missing(path, absent, ", ".join(header["fields"]))


def _columns(header: dict[str, Any]) -> tuple[list[str], list[str], int]:
    """Return unique column names, their types, and into how many the last one of the file is cut."""
    fields, types = list(header["fields"]), list(header.get("types", []))
    types += ["string"] * (len(fields) - len(types))
    last, last_types = re.split(" {3}", fields[-1]), re.split(" {3}", types[len(fields) - 1])
    names = fields[:-1] + last
    types = types[: len(fields) - 1] + (last_types + ["string"] * len(last))[: len(last)]
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[index] = f"{name}_{seen[name]}"
    return names, types, len(last)


def _parse_text(piece: Piece) -> Parsed:
    header = piece.header
    names, types, joined = _columns(header)
    unset, empty = header.get("unset_field", "-"), header.get("empty_field", "(empty)")
    raw_names = names if joined == 1 else [*names[:-joined], "joined"]
    table, numbers, wrong = read_table(
        piece.data, raw_names, delimiter=header.get("separator", "\t"), nulls=[unset] if joined == 1 else []
    )
    texts = {name: table.column(name).combine_chunks() for name in raw_names}
    if joined > 1:
        texts = _cut_last(texts, names[-joined:], unset)
    rows = Rows(table.num_rows)
    escaped = b"\\" in piece.data
    for name, type_ in zip(names, types, strict=True):
        text = texts[name]
        if escaped and type_ in ("string", "enum"):
            text = _unescape(text)
        _read_column(rows, name, type_, text, empty)
    return _finish(rows, piece, numbers, wrong)


def _read_column(rows: Rows, name: str, type_: str, text: pa.Array, empty: str) -> None:
    field = ZEEK_CONN.get(name) or kept(name, type_, "zeek")
    if field.name == "service" or type_.startswith(("set", "table", "vector")):
        is_empty = pc.fill_null(pc.equal(text, empty), fill_value=False)
        if pc.any(is_empty).as_py():
            text = pc.if_else(is_empty, "", text)
    rows.read(name, text, field)


def _finish(rows: Rows, piece: Piece, numbers: Any, wrong: list[tuple[int, str]]) -> Parsed:
    if not rows.count:
        return Parsed(NOTHING, rejections(piece, wrong))
    rows.require(_THEIRS)
    rows.check_addresses()
    reasons = rejected_rows(rows, numbers) + wrong
    return Parsed(rows.table(), rejections(piece, reasons))


def _cut_last(texts: dict[str, pa.Array], names: list[str], unset: str) -> dict[str, pa.Array]:
    """Cut the joined last column at three spaces; a row with fewer parts has no value in the others."""
    joined = texts.pop("joined")
    parts = pc.split_pattern(joined, "   ", max_splits=len(names) - 1)
    lengths = pc.list_value_length(parts)
    for index, name in enumerate(names):
        enough = pc.greater(lengths, index)
        padded = pc.if_else(enough, parts, pa.scalar([""] * len(names), parts.type))
        value = pc.if_else(enough, pc.list_element(padded, index), pa.scalar(None, pa.string()))
        texts[name] = pc.if_else(pc.equal(value, unset), pa.scalar(None, pa.string()), value)
    return {name: pc.if_else(pc.equal(text, unset), pa.scalar(None, pa.string()), text) for name, text in texts.items()}


def _unescape(text: pa.Array) -> pa.Array:
    r"""Turn `\xNN` back into the bytes it stands for, where they are valid UTF-8."""
    hit = pc.fill_null(pc.match_substring(text, "\\x"), fill_value=False)
    if not pc.any(hit).as_py():
        return text
    coded = text.filter(hit)
    return pc.replace_with_mask(text, hit, pa.array([_unescape_one(value) for value in coded.to_pylist()], pa.string()))


def _unescape_one(value: str) -> str:
    octets = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), value.encode())
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return value


def _parse_json(piece: Piece) -> Parsed:
    columns, numbers, wrong = read_json_lines(piece.data, flatten=("id",))
    rows = Rows(len(numbers))
    for theirs in (_THEIRS[name] for name in MANDATORY):
        columns.setdefault(theirs, JsonColumn(pa.nulls(rows.count, pa.string()), "string"))
    for name, column in columns.items():
        if name != "_path":
            type_ = ZEEK_CONN_TYPES.get(name, column.guess)
            rows.read(name, column.text, ZEEK_CONN.get(name) or kept(name, type_, "zeek"))
    return _finish(rows, piece, numbers, wrong)
