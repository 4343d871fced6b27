"""Foreign rows become flow records: typed, checked, completed, in order; bad rows are told by index and reason."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.convert import bad_values, saturate
from tocsin.records.flow import FLOW, MANDATORY, TIMESTAMP
from tocsin.records.maps import DURATION, Field

if TYPE_CHECKING:
    from tocsin.kernels.addresses import Addresses

_ADDRESSED = ("tcp", "udp", "sctp")
_SHOWN = 60


class Rows:
    """The rows of one piece of a file on their way to flow records."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: dict[str, pa.Array] = {}
        self.reasons: dict[int, str] = {}
        self._addresses: tuple[Addresses, Addresses] | None = None

    def read(self, theirs: str, text: pa.Array, field: Field) -> None:
        """Add a column from its text; a value that cannot be read rejects its row."""
        converted = field.convert(text)
        for index in np.flatnonzero(bad_values(text, converted)).tolist():
            self.reject(index, f"{theirs} {shorten(text[index].as_py())} is not {field.kind}")
        self.columns[field.name] = converted

    def reject(self, index: int, reason: str) -> None:
        """Set a row aside; its first reason stands."""
        self.reasons.setdefault(index, reason)

    def require(self, names: Mapping[str, str]) -> None:
        """Reject rows that lack a value a flow must have. names: our name -> theirs."""
        for name in MANDATORY:
            column = self.columns[name]
            empty = (
                pc.is_null(column) if column.type == TIMESTAMP else pc.fill_null(pc.equal(column, ""), fill_value=True)
            )
            for index in np.flatnonzero(np.asarray(empty)).tolist():
                self.reject(index, f"no {names.get(name, name)}")

    def table(self) -> pa.Table:
        """Return the rows that stand as flow records, completed with what follows from them."""
        from tocsin.records.community_id import community_ids  # imports the compiler, which few commands need

        self._drop_rejected()
        _add_times(self.columns)
        _add_ratios(self.columns)
        source, target = self._parsed_addresses()
        ids = community_ids(
            self.columns["proto"], source, target, _ports(self.columns, "sport"), _ports(self.columns, "dport")
        )
        given = self.columns.get("community_id")
        self.columns["community_id"] = ids if given is None else pc.coalesce(given, ids)
        _add_flow_ids(self.columns)
        return _in_order(self.columns)

    def check_addresses(self) -> None:
        """Reject rows of protocols that have addresses when theirs are none; spell each IPv6 address in one way."""
        addressed = np.asarray(pc.fill_null(pc.is_in(self.columns["proto"], pa.array(_ADDRESSED)), fill_value=False))
        for name, parsed in zip(("saddr", "daddr"), self._parsed_addresses(), strict=True):
            for index in np.flatnonzero(addressed & (parsed.family == 0)).tolist():
                self.reject(index, f"{shorten(self.columns[name][index].as_py())} is no IP address")
        changed = [
            self._spell(name, parsed) for name, parsed in zip(("saddr", "daddr"), self._parsed_addresses(), strict=True)
        ]
        if any(changed):
            self._addresses = None

    def _spell(self, name: str, parsed: "Addresses") -> bool:
        """Write IPv6 addresses as RFC 5952 does: a host has one name whatever the sensor. Say whether any changed."""
        is_six = pa.array(parsed.family == 6)
        given = self.columns[name].filter(is_six).dictionary_encode()
        spelled = pa.array([_spelled(text) for text in given.dictionary.to_pylist()], self.columns[name].type)
        if spelled.equals(given.dictionary):
            return False
        self.columns[name] = pc.replace_with_mask(self.columns[name], is_six, spelled.take(given.indices))
        return True

    def _parsed_addresses(self) -> "tuple[Addresses, Addresses]":
        from tocsin.kernels.addresses import parse_addresses

        if self._addresses is None:
            self._addresses = parse_addresses(self.columns["saddr"]), parse_addresses(self.columns["daddr"])
        return self._addresses

    def kept(self, numbers: np.ndarray) -> np.ndarray:
        """Return what the rows that stand have of an array with an entry a row, as read."""
        return np.delete(numbers, list(self.reasons))

    def _drop_rejected(self) -> None:
        if self.reasons:
            self._addresses = None
            keep = np.ones(self.count, bool)
            keep[list(self.reasons)] = False
            self.columns = {name: column.filter(pa.array(keep)) for name, column in self.columns.items()}
            self.count = int(keep.sum())


def _spelled(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return text
    return str(address.ipv4_mapped or address)


def shorten(value: object) -> str:
    """Return a value as a message shows it: in quotes, cut to a readable length."""
    text = str(value)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _ports(columns: dict[str, pa.Array], name: str) -> pa.Array:
    return columns[name] if name in columns else pa.nulls(len(columns["proto"]), pa.uint16())


def _add_times(columns: dict[str, pa.Array]) -> None:
    """Complete etime and dur from the duration, or dur from stime and etime."""
    duration = columns.pop(DURATION, None)
    stime = pc.cast(columns["stime"], pa.int64())
    if duration is not None:
        columns["dur"] = saturate(pc.multiply(duration, 1e3), pa.uint32())
        if "etime" not in columns:
            bounded = pc.min_element_wise(duration, 1e10, skip_nulls=False)
            microseconds = pc.cast(pc.round(pc.multiply(bounded, 1e6)), pa.int64())
            columns["etime"] = pc.cast(pc.add(stime, microseconds), TIMESTAMP)
    elif "etime" in columns and "dur" not in columns:
        span = pc.subtract(pc.cast(columns["etime"], pa.int64()), stime)
        columns["dur"] = saturate(pc.divide(pc.max_element_wise(span, 0, skip_nulls=False), 1000), pa.uint32())


def _add_ratios(columns: dict[str, pa.Array]) -> None:
    """Add the producer/consumer ratio and mean payloads where payload bytes are known."""
    sent, received = columns.get("orig_bytes"), columns.get("resp_bytes")
    if sent is not None and received is not None and "pcr" not in columns:
        columns["pcr"] = producer_consumer_ratio(sent, received)
    for payload, packets, name in ((sent, "spkts", "savgpayload"), (received, "dpkts", "davgpayload")):
        if payload is not None and packets in columns and name not in columns:
            columns[name] = _mean(payload, columns[packets])
    for ours, payload in (("sbytes", sent), ("dbytes", received)):
        if payload is not None:
            columns[ours] = payload if ours not in columns else pc.coalesce(columns[ours], payload)


def producer_consumer_ratio(sent: pa.Array, received: pa.Array) -> pa.Array:
    """Return round(10 · (sent - received) / (sent + received)), 0 where both are 0: (n,) int32."""
    sent, received = pc.cast(sent, pa.float64(), safe=False), pc.cast(received, pa.float64(), safe=False)
    total = pc.max_element_wise(pc.add(sent, received), 1.0, skip_nulls=False)
    ratio = pc.round(pc.multiply(pc.divide(pc.subtract(sent, received), total), 10.0))
    return pc.cast(ratio, pa.int32())


def _mean(payload: pa.Array, packets: pa.Array) -> pa.Array:
    some = pc.if_else(pc.greater(packets, 0), pc.cast(packets, pa.float64(), safe=False), pa.scalar(None, pa.float64()))
    return saturate(pc.divide(pc.cast(payload, pa.float64(), safe=False), some), pa.uint16())


_IDENTITY = ("stime", "etime", "dur", "proto", "saddr", "daddr", "sport", "dport", "sbytes", "dbytes", "spkts", "dpkts")


def _add_flow_ids(columns: dict[str, pa.Array]) -> None:
    """Give a flow without an identifier one that follows from what it is: 128 bits, as 32 hexadecimal digits."""
    given = columns.get("flowid")
    if given is not None and given.null_count == 0:
        return
    derived = content_ids([columns[name] for name in _IDENTITY if name in columns])
    columns["flowid"] = derived if given is None else pc.coalesce(given, derived)


def content_ids(columns: list[pa.Array]) -> pa.Array:
    """Return an identifier of each row's values, alike for alike rows: (n,) string of 32 hexadecimal digits."""
    from tocsin.kernels.strings import hash_integers, hash_strings

    halves = []
    for seed in (1, 2):
        mixed = np.zeros(len(columns[0]), np.uint64)
        for column in columns:
            hashed: Callable[..., np.ndarray] = hash_strings if pa.types.is_string(column.type) else hash_integers
            # A rotation before each column keeps alike values in different columns apart.
            mixed = hash_integers(((mixed << np.uint64(7)) | (mixed >> np.uint64(57))) ^ hashed(column, seed), seed)
        halves.append(mixed)
    return _hex(np.stack(halves, axis=1))


def _hex(words: np.ndarray) -> pa.Array:
    """Write (n, 2) uint64 as (n,) text."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = np.ascontiguousarray(words.astype(">u8")).view(np.uint8).reshape(len(words), 16)
    data = np.empty((len(words), 32), np.uint8)
    data[:, 0::2], data[:, 1::2] = digits[octets >> 4], digits[octets & 15]
    offsets = pa.py_buffer(np.arange(0, 32 * len(words) + 1, 32, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), len(words), [None, offsets, pa.py_buffer(data)])


def _in_order(columns: dict[str, pa.Array]) -> pa.Table:
    names = [name for name in FLOW if name in columns]
    arrays = [
        columns[name] if columns[name].type == FLOW[name].type else columns[name].cast(FLOW[name].type)
        for name in names
    ]
    further = [name for name in columns if name not in FLOW]
    return pa.table([*arrays, *(columns[name] for name in further)], names=[*names, *further])
