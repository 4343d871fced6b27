"""Packet captures, made into flows by nfstream (an extra)."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError
from tocsin.records.flow import TIMESTAMP
from tocsin.records.rows import Rows
from tocsin.records.typed import typed
from tocsin.source import Batch, Source
from tocsin.sources.ftp import KIND as FTP
from tocsin.sources.ftp import FtpReader, ftp_table
from tocsin.sources.kinds import Kinds
from tocsin.sources.packets import tcp_segments

_MAGIC = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")
_ORDERS = dict(zip(_MAGIC, "<><>", strict=False))
_HEADERS = 24 + 16
_PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6", 89: "ospf", 132: "sctp"}

FIELDS: dict[str, str] = {
    "src_ip": "saddr",
    "dst_ip": "daddr",
    "src_port": "sport",
    "dst_port": "dport",
    "src_mac": "smac",
    "dst_mac": "dmac",
    "vlan_id": "svlan",
    "src2dst_packets": "spkts",
    "dst2src_packets": "dpkts",
    "src2dst_bytes": "sbytes",
    "dst2src_bytes": "dbytes",
    "src2dst_max_ps": "smaxpktsize",
    "dst2src_max_ps": "dmaxpktsize",
    "application_name": "service",
    "application_category_name": "ndpi_category",
    "client_fingerprint": "ndpi_fp",
    "server_fingerprint": "ndpi_ja3s",
    "requested_server_name": "server_name",
}
"""nfstream's fields and ours."""

_TURN_US = 60_000_000
_FLAGS = {"syn": "S", "fin": "F", "rst": "R", "psh": "P", "ack": "A", "urg": "U"}


class PcapSource(Source):
    """Reads a capture's flows; with `kinds`, also what was said on FTP control channels, as records of kind `zeek.ftp`.

    Delivery: each flow once, as nfstream expires them; reading on from a flow meters the capture again. Times have
    the millisecond resolution that nfstream gives. Batches of both kinds take turns, a minute of the capture each.
    Specification: pcap and pcapng (IETF draft-ietf-opsawg-pcap); https://www.nfstream.org for the flow fields.
    """

    name = "pcap"
    appendable = False

    def __init__(self, *, batch_rows: int = 50_000, kinds: Kinds | None = None) -> None:
        self.batch_rows = batch_rows
        self.kinds = kinds

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """The magic number of pcap, in either byte order and resolution, or of pcapng."""
        return head[:4] in _MAGIC

    def earliest(self, path: Path, head: bytes) -> int | None:
        """Return the first packet's time of a pcap file; pcapng keeps it behind blocks of any length."""
        if len(head) < _HEADERS or head[:4] not in _ORDERS:
            return None
        (seconds,) = struct.unpack_from(f"{_ORDERS[head[:4]]}I", head, 24)
        return int(seconds) * 1_000_000

    def read(
        self,
        path: Path,
        position: dict[str, Any] | None = None,
        *,
        until: dict[str, Any] | None = None,
        growing: bool = False,
    ) -> Iterator[Batch]:
        """Meter the capture. Raises InputError when nfstream is not installed or cannot read the file."""
        begun, end = position or {"flow": 0}, until or {"flow": None}
        flows = islice(_flows(path), begun["flow"], end["flow"])
        if self.kinds is None:
            while chunk := list(islice(flows, self.batch_rows)):
                begun = {"flow": begun["flow"] + len(chunk)}
                yield _batch(chunk, begun)
            return
        answers = islice(FtpReader().read(tcp_segments(path)), begun.get("ftp", 0), end.get("ftp"))
        yield from self._by_turns(
            _Ahead(flows if self.kinds.wants("flow") else iter(())),
            _Ahead(answers if self.kinds.wants(FTP) else iter(())),
            {"ftp": 0} | begun,
        )

    def _by_turns(self, flows: "_Ahead", answers: "_Ahead", position: dict[str, Any]) -> Iterator[Batch]:
        """Yield the flows of a minute, then what was said up to then, so that neither comes long after the other."""
        until_us = position.pop("within", 0)
        while True:
            while said := answers.take(_answered_us, until_us, self.batch_rows):
                position = position | {"ftp": position["ftp"] + len(said)}
                yield Batch(FTP, ftp_table(said), _within(position, answers, until_us))
            if not flows and not answers:
                return
            until_us = _TURN_US + (_end_us(flows.next) if flows else _answered_us(answers.next))
            if chunk := flows.take(_end_us, until_us, self.batch_rows):
                position = position | {"flow": position["flow"] + len(chunk)}
                yield _batch(chunk, _within(position, answers, until_us))


def _within(position: dict[str, Any], answers: "_Ahead", until_us: int) -> dict[str, Any]:
    """Return the position, with the end of the minute as long as there is more of it."""
    return position | {"within": until_us} if answers and _answered_us(answers.next) < until_us else position


class _Ahead:
    """An iterator whose next item, if there is one, can be looked at."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self._next: list[Any] = []

    def __bool__(self) -> bool:
        self._next = self._next or list(islice(self._items, 1))
        return bool(self._next)

    @property
    def next(self) -> Any:
        """The next item, which must be there."""
        return self._next[0]

    def take(self, time_us: Callable[[Any], int], until_us: int, most: int) -> list[Any]:
        """Take the items up to the first that is not before a time, so many at most."""
        taken: list[Any] = []
        while len(taken) < most and self and time_us(self.next) < until_us:
            taken.append(self._next.pop())
        return taken


def _end_us(flow: Any) -> int:
    return int(flow.bidirectional_last_seen_ms) * 1000


def _answered_us(record: dict[str, Any]) -> int:
    return int(record["ts"])


def _flows(path: Path) -> Iterator[Any]:
    try:
        from nfstream import NFStreamer
    except ImportError as error:
        raise InputError(f"{path}: captures need nfstream: pip install 'tocsin[pcap]'") from error
    if path.stat().st_size < 24:
        raise InputError(f"{path}: breaks off in the header of the capture")
    try:
        with _quiet():
            yield from NFStreamer(source=str(path), statistical_analysis=True, n_meters=1)
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: nfstream cannot read this capture ({error})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """nfstream meters in a forked process, about which Python 3.12 warns; nothing is done here but to say so."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _batch(flows: list[Any], position: dict[str, Any]) -> Batch:
    rows = Rows(len(flows))
    rows.columns["stime"] = _milliseconds([flow.bidirectional_first_seen_ms for flow in flows])
    rows.columns["etime"] = _milliseconds([flow.bidirectional_last_seen_ms for flow in flows])
    rows.columns["dur"] = pa.array([flow.bidirectional_duration_ms for flow in flows], pa.uint32())
    rows.columns["proto"] = pa.array([_PROTOCOLS.get(flow.protocol, str(flow.protocol)) for flow in flows], pa.string())
    rows.columns["uflags"] = pa.array([_letters(flow) for flow in flows], pa.string())
    for theirs, ours in FIELDS.items():
        values = pa.array([getattr(flow, theirs, None) for flow in flows])
        if ours == "server_name":
            rows.columns[ours] = values
            continue
        column, _ = typed(values, ours)
        empty = pc.equal(column, "") if pa.types.is_string(column.type) else None
        rows.columns[ours] = column if empty is None else pc.if_else(empty, pa.scalar(None, pa.string()), column)
    return Batch("flow", rows.table(), position)


def _milliseconds(values: list[int]) -> pa.Array:
    return pc.cast(pa.array(values, pa.timestamp("ms", tz="UTC")), TIMESTAMP)


def _letters(flow: Any) -> str:
    return "".join(letter for name, letter in _FLAGS.items() if getattr(flow, f"bidirectional_{name}_packets", 0))
