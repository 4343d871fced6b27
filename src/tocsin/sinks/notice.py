"""Findings in the shape of Zeek's notice.log, and results as logs of their own, for tools that read them.

Format: Zeek's ASCII log writer, tab-separated with `#` header lines.
"""

import ipaddress
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from tocsin.clock import Clock, SystemClock
from tocsin.errors import SinkError
from tocsin.records.finding import Finding
from tocsin.records.result import CHUNK
from tocsin.sink import Sink
from tocsin.sinks.append import append_durably

COLUMNS: dict[str, str] = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "fuid": "string",
    "file_mime_type": "string",
    "file_desc": "string",
    "proto": "enum",
    "note": "enum",
    "msg": "string",
    "sub": "string",
    "src": "addr",
    "dst": "addr",
    "p": "port",
    "n": "count",
    "peer_descr": "string",
    "actions": "set[enum]",
    "email_dest": "set[string]",
    "suppress_for": "interval",
}
"""Columns of notice.log and their Zeek types, in order."""

_PROTOCOLS = frozenset({"tcp", "udp", "icmp"})


class NoticeSink(Sink):
    """Appends each finding as a line of a notice.log: note `Tocsin::<Kind>`, title as msg, reasons as sub.

    Results go beside it, a log a summary: `results-<summary>.log`, whose columns are those of the results with Zeek's
    types for theirs.
    """

    name: ClassVar[str] = "notice"

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()

    @property
    def place(self) -> str:
        """Return the file."""
        return f"notice {self._path}"

    def send(self, findings: list[Finding]) -> None:
        """Append the findings. Raises SinkError when the file cannot be written or has other columns."""
        if not findings:
            return
        self._append(self._path, "notice", COLUMNS, "".join(notice_line(finding) + "\n" for finding in findings))

    def send_results(self, results: pa.Table) -> None:
        """Append the results to their summary's log. Raises SinkError when it cannot be written or is of others."""
        if not results.num_rows:
            return
        summary = re.sub(r"[^A-Za-z0-9._-]", "_", results.column("summary")[0].as_py())
        columns = {field.name: zeek_type(field.type) for field in results.schema}
        path = self._path.with_name(f"results-{summary}.log")
        for batch in results.to_batches(max_chunksize=CHUNK):
            lines = "".join(result_line(row, columns) + "\n" for row in batch.to_pylist())
            self._append(path, f"results_{summary}", columns, lines)

    def close(self) -> None:
        """Do nothing: no file is held open between sends."""

    def _append(self, path: Path, name: str, columns: dict[str, str], lines: str) -> None:
        header = zeek_header(name, columns, self._clock.now())
        _check(path, header)
        append_durably(path, lines, header=header)


def _check(path: Path, header: str) -> None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = [line.rstrip("\n") for line, _ in zip(file, range(10), strict=False)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror or error}") from error
    fields = next(line for line in header.splitlines() if line.startswith("#fields"))
    if head and fields not in head:
        raise SinkError(f"{path} has other columns than what is to be written; name another file for this sink")


def notice_log(findings: list[Finding], opened: datetime) -> str:
    """Write findings as a whole notice.log."""
    return zeek_header("notice", COLUMNS, opened) + "".join(notice_line(finding) + "\n" for finding in findings)


def zeek_header(path: str, columns: dict[str, str], opened: datetime) -> str:
    """Write the header lines of a log; columns: name -> Zeek type."""
    lines = (
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        f"#path\t{path}",
        f"#open\t{opened:%Y-%m-%d-%H-%M-%S}",
        "#fields\t" + "\t".join(escape_cell(name) for name in columns),
        "#types\t" + "\t".join(columns.values()),
    )
    return "\n".join(lines) + "\n"


def notice_line(finding: Finding) -> str:
    """Write a finding as one line, without its line end."""
    record = finding.records[0] if finding.records else {}
    protocol = str(record.get("proto", finding.scope.get("proto", ""))).lower()
    values: dict[str, Any] = {
        "ts": f"{finding.start.timestamp():.6f}",
        "uid": record.get("flowid"),
        "id.orig_h": record.get("saddr"),
        "id.orig_p": record.get("sport"),
        "id.resp_h": record.get("daddr"),
        "id.resp_p": record.get("dport"),
        "proto": protocol if protocol in _PROTOCOLS else None,
        "note": "Tocsin::" + note_name(finding.kind),
        "msg": finding.title,
        "sub": "; ".join(f"{reason.field}: {reason.seen}, expected {reason.expected}" for reason in finding.reasons),
        "src": finding.entity if _is_address(finding.entity) else None,
        "dst": finding.scope.get("daddr"),
        "p": finding.scope.get("dport"),
        "n": finding.record_count,
        "peer_descr": finding.domain,
        "suppress_for": "0.000000",
    }
    cells = (escape_cell(values.get(name)) for name in COLUMNS)
    line = dict(zip(COLUMNS, cells, strict=True))
    return "\t".join((line | {"actions": escape_set(["Notice::ACTION_LOG"]), "email_dest": escape_set([])}).values())


def result_line(row: dict[str, Any], columns: dict[str, str]) -> str:
    """Write a result as one line, without its line end."""
    return "\t".join(_zeek_value(row[name], kind) for name, kind in columns.items())


def zeek_type(kind: pa.DataType) -> str:
    """Return Zeek's name of a result column's type; what it has no name for is text."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"vector[{zeek_type(kind.value_type)}]"
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_floating(kind):
        return "double"
    return "int" if pa.types.is_integer(kind) else "string"


def _zeek_value(value: Any, kind: str) -> str:
    if value is None:
        return "-"
    if kind.startswith("vector["):
        inner = kind.removeprefix("vector[").removesuffix("]")
        return ",".join(_zeek_value(item, inner).replace(",", "\\x2c") for item in value) or "(empty)"
    if kind == "time":
        return f"{value.timestamp():.6f}"
    if kind == "bool":
        return "T" if value else "F"
    if isinstance(value, dict):
        return escape_cell(json.dumps(value, ensure_ascii=False, default=str))
    return escape_cell(value)


def note_name(kind: str) -> str:
    """Write a kind as Zeek names notices: port-scan becomes Port_Scan."""
    return "_".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", kind) if part) or "Finding"


def escape_cell(value: Any) -> str:
    """Write one value: '-' for none, '(empty)' for no text, separators and control characters as \\xNN."""
    if value is None:
        return "-"
    text = str(value)
    if text == "":
        return "(empty)"
    if text in ("-", "(empty)"):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return _escape(text)


def escape_set(values: Iterable[str]) -> str:
    """Write a set: its members with commas between, '(empty)' for none."""
    return ",".join(escape_cell(value).replace(",", "\\x2c") for value in values) or "(empty)"


def _escape(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode().replace("\\", "\\\\")
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", clean)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
