"""Which kind a JSON line is of: Zeek's logs, Suricata's events, anything else; several may share a stream."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tocsin.records.zeek_types import LOGS, SIGNS

_SAYS = re.compile(rb'"(_path|event_type)"\s*:\s*"([^"\\]*)"')
_ZEEK_UID = re.compile(r"[CF][0-9A-Za-z]{10,20}")
_CONN_ONLY = ("conn_state", "orig_pkts", "orig_ip_bytes", "missed_bytes", "history")


@dataclass(frozen=True)
class Kinds:
    """Which kinds of records are wanted, where they need not be flows.

    only: these and no others; None: all. bare: the kind of JSON lines that do not say theirs ('': as the first looks).
    """

    only: frozenset[str] | None = None
    bare: str = ""

    def wants(self, kind: str) -> bool:
        """Say whether records of a kind are to be read; Suricata's statistics only when asked for."""
        return kind != "eve.stats" if self.only is None else kind in self.only


class Origin(NamedTuple):
    """Who writes a line: format `zeek`, `eve` or `event`; name: of Zeek's log, of Suricata's event type."""

    format: str
    name: str = ""

    @property
    def kind(self) -> str:
        """The kind of its records."""
        if self in (Origin("zeek", "conn"), Origin("eve", "flow")):
            return "flow"
        return f"{self.format}.{self.name}" if self.name else self.format


def origin_of(kind: str) -> Origin:
    """Return who writes lines of a kind, given as `--kind`: `flow`, `event`, `zeek.ssh`, `eve.alert`."""
    format_, _, name = kind.partition(".")
    return Origin("zeek", "conn") if kind == "flow" else Origin(format_, name)


def json_origin(record: dict[str, Any], path: Path) -> Origin:
    """Return who wrote a record, by its fields and, where these leave it open, its file's name."""
    if "_path" in record:
        return Origin("zeek", str(record["_path"]))
    if "event_type" in record and "timestamp" in record:
        return Origin("eve", str(record["event_type"]))
    stem = path.name.partition(".")[0]
    if "ts" in record and (_has_zeek_id(record) or stem in LOGS):
        return Origin("zeek", zeek_log(record, stem))
    return Origin("event")


def zeek_log(record: dict[str, Any], stem: str) -> str:
    """Return which of Zeek's logs a record is from; stem: the file's name up to its first dot."""
    if "_path" in record:
        return str(record["_path"])
    if any(name in record for name in _CONN_ONLY):
        return "conn"
    if stem in LOGS and stem != "conn":
        return stem
    signed = [log for log, fields in SIGNS.items() if all(name in record for name in fields)]
    return signed[0] if signed else stem if stem not in ("conn", "-", "") else "unknown"


def _has_zeek_id(record: dict[str, Any]) -> bool:
    inner = record.get("id")
    nested = isinstance(inner, dict) and "orig_h" in inner
    uid = record.get("uid") or record.get("fuid")
    return nested or "id.orig_h" in record or (isinstance(uid, str) and _ZEEK_UID.fullmatch(uid) is not None)


def split_origins(data: bytes, bare: Origin) -> dict[Origin, tuple[bytes, np.ndarray]]:
    """Sort JSON lines by who wrote them, in the order of their first lines.

    bare: who writes lines that do not say it. Returns for each its lines, and their numbers among all, (n,) int64.
    """
    lines = data.split(b"\n")
    if b'"_path"' not in data and b'"event_type"' not in data:
        return {bare: (data, np.arange(len(lines)))}
    sorted_: dict[Origin, list[int]] = {}
    origins: dict[tuple[bytes, bytes], Origin] = {}
    for number, line in enumerate(lines):
        if line:
            sorted_.setdefault(_line_origin(line, bare, origins), []).append(number)
    if len(sorted_) == 1:
        return {next(iter(sorted_)): (data, np.arange(len(lines)))}
    return {
        origin: (b"\n".join([lines[number] for number in numbers]), np.array(numbers, np.int64))
        for origin, numbers in sorted_.items()
    }


def _line_origin(line: bytes, bare: Origin, known: dict[tuple[bytes, bytes], Origin]) -> Origin:
    match = _SAYS.search(line)
    if match is None or (match[1] == b"event_type" and b'"timestamp"' not in line):
        return bare
    said = (match[1], match[2])
    if said not in known:
        known[said] = Origin("zeek" if match[1] == b"_path" else "eve", match[2].decode())
    return known[said]
