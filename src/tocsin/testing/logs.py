"""Small logs of every format, made on the spot: what tests and examples read."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

ZEEK_FIELDS = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "local_orig",
    "local_resp",
    "missed_bytes",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
    "tunnel_parents",
]
ZEEK_TYPES = [
    "time",
    "string",
    "addr",
    "port",
    "addr",
    "port",
    "enum",
    "string",
    "interval",
    "count",
    "count",
    "string",
    "bool",
    "bool",
    "count",
    "string",
    "count",
    "count",
    "count",
    "count",
    "set[string]",
]
START = 1_545_403_816


def zeek_header(fields: Iterable[str] = ZEEK_FIELDS, types: Iterable[str] = ZEEK_TYPES, path: str = "conn") -> str:
    """Return the header of a Zeek log in the text format."""
    lines = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}"]
    lines += ["#open\t2018-12-21-14-50-16", "#fields\t" + "\t".join(fields), "#types\t" + "\t".join(types)]
    return "\n".join(lines) + "\n"


def zeek_row(number: int, **changes: str) -> str:
    """Return one row of conn.log; its uid and time follow from its number.

    changes: values by column, a dot in its name as two underscores.
    """
    values = {
        "ts": f"{START + number * 60}.{number % 1_000_000:06d}",
        "uid": f"C{number:016d}",
        "id.orig_h": f"192.168.1.{number % 250 + 1}",
        "id.orig_p": str(1024 + number % 60_000),
        "id.resp_h": "93.184.216.34",
        "id.resp_p": "443",
        "proto": "tcp",
        "service": "ssl",
        "duration": "1.500000",
        "orig_bytes": str(100 + number),
        "resp_bytes": "300",
        "conn_state": "SF",
        "local_orig": "T",
        "local_resp": "F",
        "missed_bytes": "0",
        "history": "ShADadFf",
        "orig_pkts": "5",
        "orig_ip_bytes": str(360 + number),
        "resp_pkts": "6",
        "resp_ip_bytes": "620",
        "tunnel_parents": "(empty)",
    }
    values.update({name.replace("__", "."): value for name, value in changes.items()})
    return "\t".join(values.values()) + "\n"


def zeek_log(count: int, first: int = 0) -> str:
    """Return a conn.log of so many rows, a minute apart."""
    return zeek_header() + "".join(zeek_row(number) for number in range(first, first + count))


def zeek_json(count: int) -> str:
    """Return a conn.log of so many rows as JSON lines."""
    return "".join(
        json.dumps(
            {
                "ts": START + number * 60 + 0.5,
                "uid": f"J{number:016d}",
                "id.orig_h": "10.0.0.1",
                "id.orig_p": 1024 + number,
                "id.resp_h": "10.0.0.2",
                "id.resp_p": 53,
                "proto": "udp",
                "service": "dns",
                "duration": 0.25,
                "orig_bytes": 40,
                "resp_bytes": 80 + number,
                "conn_state": "SF",
                "local_orig": True,
                "missed_bytes": 0,
                "history": "Dd",
                "orig_pkts": 1,
                "orig_ip_bytes": 68,
                "resp_pkts": 1,
                "resp_ip_bytes": 108,
            }
        )
        + "\n"
        for number in range(count)
    )


def eve_log(count: int) -> str:
    """Return EVE events: so many flows, an alert before each."""
    lines = []
    for number in range(count):
        stamp = datetime.fromtimestamp(START + number, UTC).strftime("%Y-%m-%dT%H:%M:%S.250000+0000")
        shared: dict[str, object] = {
            "timestamp": stamp,
            "flow_id": 7_000_000 + number,
            "src_ip": "10.0.0.9",
            "src_port": 2000 + number,
        }
        shared |= {"dest_ip": "10.0.0.3", "dest_port": 443, "proto": "TCP"}
        lines.append({**shared, "event_type": "alert", "alert": {"signature": "x", "severity": 2}})
        flow: dict[str, object] = {
            "pkts_toserver": 3,
            "pkts_toclient": 2,
            "bytes_toserver": 180,
            "bytes_toclient": 120 + number,
        }
        flow |= {"start": stamp, "end": stamp.replace(".25", ".75"), "age": 0, "state": "closed", "reason": "timeout"}
        lines.append({**shared, "event_type": "flow", "flow": flow, "tcp": {"tcp_flags": "1b", "syn": True}})
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def argus_log(count: int, *, packets: bool = True) -> str:
    """Return a binetflow file; without `packets` in the columns of CTU-13."""
    extra = "SrcPkts," if packets else ""
    columns = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,"
    lines = [columns + extra + "Label"]
    for number in range(count):
        sent = "2," if packets else ""
        time = f"2011/08/10 09:{number // 60 % 60:02d}:{number % 60:02d}.607825"
        ends = f"94.44.127.113,{1577 + number},   ->,147.32.84.59,6881"
        lines.append(f"{time},1.026539,tcp,{ends},S_RA,0,0,4,276,156,{sent}flow=Background")
    return "\n".join(lines) + "\n"


def csv_log(count: int) -> str:
    """Return a CSV file that has our own column names."""
    lines = ["stime,proto,saddr,daddr,sport,dport,sbytes,dbytes,site"]
    for n in range(count):
        time = f"2020-01-01T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"
        lines.append(f"{time},tcp,10.0.0.1,10.0.0.2,{1000 + n},80,{n},7,here")
    return "\n".join(lines) + "\n"


def event_log(count: int) -> str:
    """Return JSON lines of some application, a second apart."""
    lines = (
        {"time": START + number, "level": "info", "user": {"name": f"u{number % 7}"}, "ms": number * 1.5, "ok": True}
        for number in range(count)
    )
    return "".join(json.dumps(line) + "\n" for line in lines)
