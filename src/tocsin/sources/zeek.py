"""Zeek logs: the tab-separated format with its header, and JSON lines."""

import codecs
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError
from tocsin.records.flow import MANDATORY
from tocsin.records.logs import LogRows
from tocsin.records.maps import ZEEK_CONN, kept
from tocsin.records.rows import Rows
from tocsin.sources.blocks import Block
from tocsin.sources.delimited import missing, read_table
from tocsin.sources.jsonlines import json_object
from tocsin.sources.kinds import json_origin, zeek_log
from tocsin.sources.lines import (
    NOTHING,
    LineSource,
    Parsed,
    Piece,
    Taken,
    Titled,
    first_line,
    parsed_piece,
    take,
)
from tocsin.sources.mixed import json_header, parse_json
from tocsin.sources.zeek_json import THEIRS, take_conn

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


class ZeekSource(LineSource):
    """Reads conn.log as flows; with `kinds`, every log, as records of kind `zeek.<path>` under Zeek's column names.

    Delivery: each row once, in the order of the file, from any line on. Text format: types, separators and the
    marks of unset and empty fields come from the header, which may change anywhere in the file (rotated logs put
    one behind the other). The labelled captures of IoT-23, whose last column joins three by three spaces, are read
    as three. JSON: a record a line, times as seconds or ISO 8601; `_path` says of which log.
    Specification: https://docs.zeek.org, "Log Files"; writers ascii and json of the logging framework.
    """

    name = "zeek"

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A `#separator` or `#fields` line at the beginning, or a JSON record with `_path`, or `ts` and Zeek's ids."""
        line = first_line(head)
        if line.startswith((b"#separator", b"#fields", b"#set_separator")):
            return True
        record = json_object(line)
        return record is not None and json_origin(record, path).format == "zeek"

    def kind(self, head: bytes, path: Path) -> str:
        """Return `flow` for conn.log, `zeek.<path>` for the other logs."""
        log = _json_log(head, path) if first_line(head).startswith(b"{") else _text_log(head, path)
        return _kind(log)

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Cut at the lines that begin with #."""
        if not header:
            header = self._first_header(path, block.data)
        if header["json"]:
            return [(block, header)], header
        titled: list[Titled] = []
        start, line, data = 0, block.line, block.data
        while start < len(data):
            if data.startswith(b"#", start):
                stop = data.find(b"\n", start) + 1 or len(data)
                header = self._read_header(path, header, data[start:stop].rstrip(b"\r\n"))
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

    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn lines into records."""
        if not piece.header["json"]:
            kind = _kind(piece.header.get("log", "conn"))
            if self.kinds is not None and not self.kinds.wants(kind):
                return [Parsed(NOTHING, skipped=piece.data.count(b"\n"), kind=kind)]
            return [parsed_piece(piece, _take_text(piece), kind)]
        if self.kinds is not None:
            return parse_json(piece, self.kinds)
        return [parsed_piece(piece, take_conn(piece.data))]

    def _first_header(self, path: Path, data: bytes) -> dict[str, Any]:
        if not first_line(data).startswith(b"{"):
            return {"json": False, "log": self._named(path)}
        if self.kinds is not None:
            return json_header(self.kinds, path, data)
        if (log := _json_log(data, path)) != "conn":
            raise _other_log(path, log)
        return {"json": True}

    def _read_header(self, path: Path, header: dict[str, Any], line: bytes) -> dict[str, Any]:
        """Return the header with one more line; a #fields line begins the columns anew."""
        if line.startswith(b"#separator"):
            mark = _unescape_separator(line[len(b"#separator") :].strip(b" \t"))
            return {"json": False, "separator": mark or "\t", "log": self._named(path)}
        separator = header.get("separator", "\t")
        key, _, value = line[1:].decode(errors="backslashreplace").partition(separator)
        if key == "path":
            if self.kinds is None and value != "conn":
                raise _other_log(path, value)
            return {**header, "log": value}
        if key == "fields":
            return {**header, "fields": value.split(separator), "types": []}
        if key == "types":
            return {**header, "types": value.split(separator)}
        if key in ("set_separator", "empty_field", "unset_field"):
            return {**header, key: value}
        return header

    def _named(self, path: Path) -> str:
        """Return which log a file is of that does not say it."""
        return path.name.partition(".")[0] if self.kinds is not None else "conn"


def _kind(log: str) -> str:
    return "flow" if log == "conn" else f"zeek.{log}"


def _text_log(head: bytes, path: Path) -> str:
    for line in head.split(b"\n"):
        if line.startswith(b"#path"):
            return line[6:].strip().decode(errors="replace")
    return path.name.partition(".")[0]


def _json_log(head: bytes, path: Path) -> str:
    return zeek_log(json_object(first_line(head)) or {}, path.name.partition(".")[0])


def _other_log(path: Path, log: str) -> InputError:
    return InputError(f"{path}: holds {log} records; flows come from conn.log")


def _unescape_separator(mark: bytes) -> str:
    return codecs.decode(mark, "unicode_escape") if _ESCAPE.fullmatch(mark) else mark.decode(errors="replace")


def _check_fields(path: Path, header: dict[str, Any], line: int) -> None:
    if not header.get("fields"):
        raise InputError(f"{path}:{line}: has no #fields line before its rows; Zeek's header must come with the rows")
    if header.get("log", "conn") != "conn":
        return
    absent = [THEIRS[name] for name in MANDATORY if THEIRS[name] not in header["fields"]]
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


def _take_text(piece: Piece) -> Taken:
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
    if b"\\" in piece.data:
        for name, type_ in zip(names, types, strict=True):
            texts[name] = _unescape(texts[name]) if type_ in ("string", "enum") else texts[name]
    typed = [(name, type_, texts[name]) for name, type_ in zip(names, types, strict=True)]
    rows = _conn_rows if header.get("log", "conn") == "conn" else _log_rows
    return take(rows(typed, table.num_rows, empty), numbers, wrong)


def _conn_rows(columns: list[tuple[str, str, pa.Array]], count: int, empty: str) -> Rows:
    rows = Rows(count)
    for name, type_, text in columns:
        field = ZEEK_CONN.get(name) or kept(name, type_, "zeek")
        is_list = field.name == "service" or type_.startswith(("set", "table", "vector"))
        rows.read(name, _without_mark(text, empty) if is_list else text, field)
    if count:
        rows.require(THEIRS)
        rows.check_addresses()
    return rows


def _log_rows(columns: list[tuple[str, str, pa.Array]], count: int, empty: str) -> Rows:
    rows = LogRows(count)
    for name, type_, text in columns:
        rows.add(name, _without_mark(text, empty), type_)
    rows.require_time("ts")
    return rows


def _without_mark(text: pa.Array, empty: str) -> pa.Array:
    """Return text with '' for the mark of empty fields."""
    is_empty = pc.fill_null(pc.equal(text, empty), fill_value=False)
    return pc.if_else(is_empty, "", text) if pc.any(is_empty).as_py() else text


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
