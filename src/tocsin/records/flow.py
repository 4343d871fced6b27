"""The canonical flow record: one bidirectional flow a row, columns read by name, absent columns are fine.

`s…` is the originator (source), `d…` the responder (destination). Columns beyond these are kept as they come.
"""

from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column of a record kind: its Arrow type, its unit ('' where it has none), what it means."""

    type: pa.DataType
    unit: str
    help: str


def _u8(unit: str, help: str) -> Column:
    return Column(pa.uint8(), unit, help)


def _u16(unit: str, help: str) -> Column:
    return Column(pa.uint16(), unit, help)


def _u32(unit: str, help: str) -> Column:
    return Column(pa.uint32(), unit, help)


def _u64(unit: str, help: str) -> Column:
    return Column(pa.uint64(), unit, help)


def _text(help: str) -> Column:
    return Column(pa.string(), "", help)


FLOW: dict[str, Column] = {
    "version": _u16("", "schema version"),
    "flowid": _text("identifier of the flow, unique within the domain"),
    "obname": _text("observation domain"),
    "stime": Column(TIMESTAMP, "UTC", "first packet"),
    "etime": Column(TIMESTAMP, "UTC", "last packet"),
    "dur": _u32("milliseconds", "duration"),
    "rtt": _u32("microseconds", "round-trip time of the handshake"),
    "pcr": Column(
        pa.int32(), "-10 to 10", "producer/consumer ratio: 10·(src - dst)/(src + dst) over payload bytes, rounded"
    ),
    "proto": _text("transport protocol, lower case: tcp, udp, icmp, …"),
    "saddr": _text("originator address"),
    "daddr": _text("responder address"),
    "sport": _u16("", "originator port; ICMP: type"),
    "dport": _u16("", "responder port; ICMP: code"),
    "iflags": _text("TCP flags of the first packet"),
    "uflags": _text("union of all TCP flags"),
    "stcpseq": _u32("", "originator's initial sequence number"),
    "dtcpseq": _u32("", "responder's initial sequence number"),
    "svlan": _u16("", "originator VLAN"),
    "dvlan": _u16("", "responder VLAN"),
    "spkts": _u64("packets", "packets from the originator"),
    "dpkts": _u64("packets", "packets from the responder"),
    "sbytes": _u64("bytes", "bytes from the originator, with headers where the sensor counts them"),
    "dbytes": _u64("bytes", "bytes from the responder, with headers where the sensor counts them"),
    "sentropy": _u8("0 to 255", "entropy of the originator's payload"),
    "dentropy": _u8("0 to 255", "entropy of the responder's payload"),
    "ssmallpktcnt": _u32("packets", "originator packets under 60 bytes"),
    "dsmallpktcnt": _u32("packets", "responder packets under 60 bytes"),
    "slargepktcnt": _u32("packets", "originator packets over 225 bytes"),
    "dlargepktcnt": _u32("packets", "responder packets over 225 bytes"),
    "snonemptypktcnt": _u32("packets", "originator packets with payload"),
    "dnonemptypktcnt": _u32("packets", "responder packets with payload"),
    "sfirstnonemptycnt": _u16("bytes", "originator's first payload"),
    "dfirstnonemptycnt": _u16("bytes", "responder's first payload"),
    "smaxpktsize": _u16("bytes", "originator's largest packet"),
    "dmaxpktsize": _u16("bytes", "responder's largest packet"),
    "savgpayload": _u16("bytes", "originator's mean payload"),
    "davgpayload": _u16("bytes", "responder's mean payload"),
    "sstdevpayload": _u16("bytes", "deviation of the originator's payload"),
    "dstdevpayload": _u16("bytes", "deviation of the responder's payload"),
    "spd": _text("directions of the first eight packets with payload, as 0 and 1"),
    "reason": _text("why the flow ended"),
    "smac": _text("originator hardware address"),
    "dmac": _text("responder hardware address"),
    "scountry": _text("originator country"),
    "dcountry": _text("responder country"),
    "sasn": _u32("", "originator autonomous system"),
    "dasn": _u32("", "responder autonomous system"),
    "sasnorg": _text("originator network owner"),
    "dasnorg": _text("responder network owner"),
    "ndpi_appid": _text("application by nDPI"),
    "ndpi_category": _text("application category by nDPI"),
    "ndpi_risk_score": _u32("", "risk score by nDPI"),
    "ndpi_risk_severity": _u32("", "risk severity by nDPI"),
    "ndpi_ja4": _text("client TLS fingerprint, JA4"),
    "ndpi_ja3s": _text("server TLS fingerprint, JA3S"),
    "ndpi_tcp_fp": _text("TCP stack fingerprint"),
    "ndpi_fp": _text("combined fingerprint"),
    # Beyond the reference: what other sensors know and analysts join on.
    "community_id": _text("Community ID v1, seed 0"),
    "service": _text("application protocol as the sensor names it: dns, http, ssl, …"),
    "conn_state": _text("state at the end as the sensor names it: Zeek S0, SF, REJ …; Argus CON, S_RA …"),
    "history": _text("Zeek's connection history"),
    "orig_bytes": _u64("bytes", "payload bytes from the originator"),
    "resp_bytes": _u64("bytes", "payload bytes from the responder"),
    "label": _text("label that came with the data: never a feature, kept for evaluation"),
    "label_detail": _text("finer label that came with the data"),
}

MANDATORY = ("stime", "proto", "saddr", "daddr")
"""Columns without which a row is no flow: such a row is set aside, a file without the column is refused."""


def flow_schema(names: list[str] | None = None) -> pa.Schema:
    """Return the Arrow schema of these columns (all of them by default), in canonical order."""
    return pa.schema([(name, column.type) for name, column in FLOW.items() if names is None or name in names])
