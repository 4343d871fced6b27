"""How foreign columns become ours: one table a format.

Each entry: their name, our name, how the text is read. What is not in a table is kept under its own name.
"""

from dataclasses import dataclass

import pyarrow as pa

from tocsin.records.convert import (
    Converter,
    any_times,
    booleans,
    counts,
    integers,
    lower_texts,
    numbers,
    ports,
    seconds,
    texts,
    times,
)
from tocsin.records.flow import FLOW, TIMESTAMP

DURATION = "duration_s"
"""A column of work: the duration in seconds, from which etime and dur are made."""


@dataclass(frozen=True)
class Field:
    """Where a foreign column goes and how its text is read."""

    name: str
    convert: Converter
    kind: str = "text"


ZEEK_CONN: dict[str, Field] = {
    "ts": Field("stime", times, "a time between 1970 and 2100"),
    "uid": Field("flowid", texts),
    "id.orig_h": Field("saddr", texts),
    "id.orig_p": Field("sport", ports, "a port (0 to 65535)"),
    "id.resp_h": Field("daddr", texts),
    "id.resp_p": Field("dport", ports, "a port (0 to 65535)"),
    "proto": Field("proto", lower_texts),
    "service": Field("service", texts),
    "duration": Field(DURATION, seconds, "a duration in seconds"),
    "orig_bytes": Field("orig_bytes", counts, "a count"),
    "resp_bytes": Field("resp_bytes", counts, "a count"),
    "conn_state": Field("conn_state", texts),
    "history": Field("history", texts),
    "orig_pkts": Field("spkts", counts, "a count"),
    "resp_pkts": Field("dpkts", counts, "a count"),
    "orig_ip_bytes": Field("sbytes", counts, "a count"),
    "resp_ip_bytes": Field("dbytes", counts, "a count"),
    "orig_l2_addr": Field("smac", lower_texts),
    "resp_l2_addr": Field("dmac", lower_texts),
    "orig_cc": Field("scountry", texts),
    "resp_cc": Field("dcountry", texts),
    "vlan": Field("svlan", ports, "a VLAN"),
    "community_id": Field("community_id", texts),
    "label": Field("label", texts),
    "detailed-label": Field("label_detail", texts),
    "detailed_label": Field("label_detail", texts),
}
"""Zeek conn.log (https://docs.zeek.org, "conn.log"); labels as in the labelled captures of IoT-23."""

ZEEK_CONN_TYPES: dict[str, str] = {
    "local_orig": "bool",
    "local_resp": "bool",
    "missed_bytes": "count",
    "ip_proto": "count",
    "inner_vlan": "int",
    "suri_ids": "set[string]",
    "tunnel_parents": "set[string]",
}
"""Zeek's own types of further conn.log columns, for logs written as JSON, which carry none."""

EVE_FLOW: dict[str, Field] = {
    "flow_id": Field("flowid", texts),
    "flow.start": Field("stime", times, "a time between 1970 and 2100"),
    "flow.end": Field("etime", times, "a time between 1970 and 2100"),
    "src_ip": Field("saddr", texts),
    "src_port": Field("sport", ports, "a port (0 to 65535)"),
    "dest_ip": Field("daddr", texts),
    "dest_port": Field("dport", ports, "a port (0 to 65535)"),
    "proto": Field("proto", lower_texts),
    "app_proto": Field("service", texts),
    "community_id": Field("community_id", texts),
    "flow.pkts_toserver": Field("spkts", counts, "a count"),
    "flow.pkts_toclient": Field("dpkts", counts, "a count"),
    "flow.bytes_toserver": Field("sbytes", counts, "a count"),
    "flow.bytes_toclient": Field("dbytes", counts, "a count"),
    "flow.state": Field("conn_state", texts),
    "flow.reason": Field("reason", texts),
}
"""Suricata EVE events of type `flow` (https://docs.suricata.io, "Eve JSON Format", event type flow)."""

EVE_TYPES: dict[str, str] = {
    "timestamp": "time",
    "src_port": "port",
    "dest_port": "port",
    "src_ip": "string",
    "dest_ip": "string",
    "proto": "string",
}
"""Types, in Zeek's words, of what Suricata's events share."""

ARGUS: dict[str, Field] = {
    "StartTime": Field("stime", times, "a time between 1970 and 2100"),
    "Dur": Field(DURATION, seconds, "a duration in seconds"),
    "Proto": Field("proto", lower_texts),
    "SrcAddr": Field("saddr", texts),
    "Sport": Field("sport", ports, "a port number; let ra write numbers (ra -n)"),
    "DstAddr": Field("daddr", texts),
    "Dport": Field("dport", ports, "a port number; let ra write numbers (ra -n)"),
    "State": Field("conn_state", texts),
    "SrcBytes": Field("sbytes", counts, "a count"),
    "DstBytes": Field("dbytes", counts, "a count"),
    "SrcPkts": Field("spkts", counts, "a count"),
    "DstPkts": Field("dpkts", counts, "a count"),
    "SrcMac": Field("smac", lower_texts),
    "DstMac": Field("dmac", lower_texts),
    "Label": Field("label", texts),
}
"""Argus flows as written by `ra -c ,` (https://openargus.org, ra(1)), as in CTU-13's binetflow files."""

ARGUS_TYPES: dict[str, str] = {"TotPkts": "count", "TotBytes": "count", "sTos": "count", "dTos": "count"}

_ZEEK_TYPES: dict[str, tuple[Converter, str]] = {
    "time": (times, "a time between 1970 and 2100"),
    "interval": (numbers, "a number of seconds"),
    "count": (counts, "a count"),
    "int": (integers, "a whole number"),
    "double": (numbers, "a number"),
    "port": (ports, "a port (0 to 65535)"),
    "bool": (booleans, "T or F"),
}


def kept(name: str, zeek_type: str, source: str) -> Field:
    """Return how a column outside a table is kept: under its name, or `<source>_<name>` where that name is ours."""
    convert, kind = _ZEEK_TYPES.get(zeek_type, (texts, "text"))
    return Field(f"{source}_{name}" if name in FLOW or name == DURATION else name, convert, kind)


def plain(name: str, zeek_type: str) -> Field:
    """Return how a column of a record that is no flow is read: under its name, after Zeek's type."""
    if zeek_type == "time" and name not in ("ts", "timestamp"):
        return Field(name, any_times, "a time")
    convert, kind = _ZEEK_TYPES.get(zeek_type, (texts, "text"))
    return Field(name, convert, kind)


def canonical(name: str) -> Field:
    """Return how text becomes our own column of this name."""
    type_ = FLOW[name].type
    if name == "proto":
        return Field(name, lower_texts)
    if type_ == TIMESTAMP:
        return Field(name, times, "a time between 1970 and 2100")
    if pa.types.is_uint16(type_):
        return Field(name, ports, "a whole number from 0 to 65535")
    if pa.types.is_unsigned_integer(type_):
        unit = FLOW[name].unit
        return Field(name, counts, f"a whole number of {unit}" if unit.endswith("seconds") else "a count")
    if pa.types.is_integer(type_):
        return Field(name, integers, "a whole number")
    return Field(name, texts)
