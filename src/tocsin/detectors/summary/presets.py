"""Summaries that ship with tocsin, written as a user writes them below `summaries:`.

The thresholds of the guessing, injection, scan and traceroute presets and the epochs of the statistics are those of
Zeek's scripts of the same purpose. The others are set where hosts that work as they should do not come: what each
threshold is weighed against stands beside it.
"""

from dataclasses import dataclass
from typing import Any

from tocsin.detectors.summary.injection import INJECTED
from tocsin.detectors.summary.terms import (
    BELOW,
    CALLED,
    CALLED_PORT,
    CALLER,
    DOMAIN,
    FAILED,
    HALF_OPEN,
    INBOUND,
    LABELLED,
    OUTBOUND,
    SERVED,
)


@dataclass(frozen=True)
class Preset:
    """A shipped summary. help: what it finds, one line. needs: which logs. settings: what a user would write."""

    help: str
    needs: str
    settings: dict[str, Any]


_ICMP = "proto IN ('icmp', 'icmp6', 'ipv6-icmp')"

_SSH_GUESSING = Preset(
    "hosts whose SSH logins failed in 30 connections within 30 minutes",
    "Zeek ssh.log",
    {
        "input": "zeek.ssh",
        "where": "auth_success = false",
        "key": {"host": "id.orig_h"},
        "reduce": {
            "attempts": "count",
            "servers": {"unique": "id.resp_h", "max": 1000},
            "some": {"sample": "id.resp_h", "size": 5},
        },
        "epoch": "30m",
        "threshold": "attempts >= 30",
        "severity": "high",
        "kind": "brute-force",
        "entity": "host",
        "title": "{host} guessed SSH passwords in {attempts} connections to {servers} server(s) in {duration}",
    },
)

_FTP_GUESSING = Preset(
    "hosts whose FTP logins were refused 20 times within 15 minutes",
    "Zeek ftp.log with USER and PASS among FTP::logged_commands, or a capture",
    {
        "input": "zeek.ftp",
        "where": "upper(command) IN ('USER', 'PASS') AND reply_code BETWEEN 500 AND 599",
        "key": {"host": "id.orig_h"},
        "reduce": {
            "failures": "count",
            "servers": {"unique": "id.resp_h", "max": 1000},
            "some": {"sample": "id.resp_h", "size": 5},
        },
        "epoch": "15m",
        "threshold": "failures >= 20",
        "severity": "high",
        "kind": "brute-force",
        "entity": "host",
        "title": "{host} had {failures} failed FTP logins on {servers} server(s) in {duration}",
    },
)


def _injection(host: str, other: str, others: str, title: str) -> dict[str, Any]:
    return {
        "input": "zeek.http",
        "where": INJECTED,
        "key": {"host": host},
        "reduce": {
            "requests": "count",
            others: {"unique": other, "max": 1000},
            "some": {"sample": "uri", "size": 1},
        },
        "epoch": "5m",
        "threshold": "requests >= 50",
        "severity": "high",
        "kind": "sql-injection",
        "entity": "host",
        "title": title,
    }


_SQLI_ATTACKER = Preset(
    "clients that put SQL into 50 URIs within 5 minutes",
    "Zeek http.log",
    _injection(
        "id.orig_h",
        "id.resp_h",
        "servers",
        "{host} sent {requests} requests with injected SQL to {servers} server(s), such as {some}",
    ),
)

_SQLI_VICTIM = Preset(
    "servers that were asked for 50 URIs with SQL in them within 5 minutes, by however many clients",
    "Zeek http.log",
    _injection(
        "id.resp_h",
        "id.orig_h",
        "clients",
        "{host} was sent {requests} requests with injected SQL by {clients} client(s), such as {some}",
    ),
)

_ADDRESS_SCAN = Preset(
    "hosts whose TCP connections to one port failed at 25 addresses within 5 minutes",
    "flows",
    {
        "input": "flow",
        "where": FAILED,
        "key": {"host": CALLER, "port": CALLED_PORT},
        "reduce": {
            "targets": {"unique": CALLED, "max": 10_000},
            "attempts": "count",
            "some": {"sample": CALLED, "size": 5},
        },
        "epoch": "5m",
        "threshold": {"of": "targets", "at": [25, 250, 2500]},
        "severity": ["medium", "high", "high"],
        "kind": "address-scan",
        "entity": "host",
        "title": "{host} tried port {port} of {targets} addresses in vain in {duration}",
    },
)

_PORT_SCAN = Preset(
    "hosts whose TCP connections failed at 15 ports of one address within 5 minutes",
    "flows",
    {
        "input": "flow",
        "where": FAILED,
        "key": {"host": CALLER, "target": CALLED},
        "reduce": {
            "ports": {"unique": CALLED_PORT, "max": 70_000},
            "attempts": "count",
            "some": {"sample": CALLED_PORT, "size": 5},
        },
        "epoch": "5m",
        "threshold": {"of": "ports", "at": [15, 150, 1500]},
        "severity": ["medium", "high", "high"],
        "kind": "port-scan",
        "entity": "host",
        "title": "{host} tried {ports} ports of {target} in vain in {duration}",
    },
)

_TRACEROUTE = Preset(
    "hosts that probed and were answered by 3 routers, that the time of a packet was exceeded, within 3 minutes",
    "flows that carry ICMP types (Zeek, Argus); probes by UDP or ICMP echo",
    {
        "inputs": [
            {
                "input": "flow",
                # Argus says TXD; the others give the type as port: 11 in ICMP, 3 in ICMPv6.
                "where": f"{_ICMP} AND (conn_state = 'TXD'"
                " OR sport = CASE WHEN contains(saddr, ':') THEN 3 ELSE 11 END)",
                "key": {"host": "daddr"},
                "reduce": {"routers": {"unique": "saddr", "max": 1000}, "some": {"sample": "saddr", "size": 5}},
            },
            {
                "input": "flow",
                "where": "proto = 'udp' AND dport BETWEEN 33434 AND 33690 AND coalesce(dpkts, 0) = 0"
                f" OR {_ICMP} AND sport = CASE WHEN contains(saddr, ':') THEN 128 ELSE 8 END",
                "key": {"host": "saddr"},
                "reduce": {"probes": "count", "target": {"last": "daddr", "size": 1}},
            },
        ],
        "epoch": "3m",
        "threshold": "routers >= 3 AND probes >= 1",
        "severity": "medium",
        "kind": "traceroute",
        "entity": "host",
        "title": "{host} traced the route to {target} over {routers} routers",
    },
)

_WEIRD_STATISTICS = Preset(
    "how often each oddity of a protocol was seen, at how many hosts, every 15 minutes; results only",
    "Zeek weird.log",
    {
        "input": "zeek.weird",
        "key": {"name": "name"},
        "reduce": {"seen": "count", "hosts": {"hll_unique": "id.orig_h", "error": 0.03}},
        "epoch": "15m",
    },
)

_APPLICATION_STATISTICS = Preset(
    "bytes, clients and flows of each application protocol, every 15 minutes; results only",
    "flows with a service",
    {
        "input": "flow",
        "key": {"service": "lower(coalesce(nullif(service, ''), 'unknown'))"},
        "observe": "coalesce(sbytes, 0) + coalesce(dbytes, 0)",
        "reduce": {"bytes": "sum", "clients": {"hll_unique": "saddr", "error": 0.03}, "flows": "count"},
        "epoch": "15m",
    },
)

_BEACONING = Preset(
    "hosts that call one outside service as regularly as a clock, 24 times or more over 2 hours or more",
    "flows",
    {
        "input": "flow",
        # Names, time, discovery, mail, telemetry (MQTT), and keep-alives of telephony and phones are regular by design.
        "where": f"{OUTBOUND} AND proto IN ('tcp', 'udp') AND dport NOT IN (53, 67, 68, 853, 5353, 5355, 123, 137, 138,"
        " 1900, 110, 143, 993, 995, 1883, 8883, 3478, 4500, 5222, 5223, 5228)",
        "key": {"host": "saddr", "peer": "daddr", "port": "dport"},
        "reduce": {
            "regularity": {"regularity": "1", "by": "coalesce(orig_bytes, sbytes)"},
            "contacts": "count",
            "first": "first_seen",
            "last": "last_seen",
        },
        "epoch": "6h",
        "threshold": "contacts >= 24 AND regularity >= 0.8 AND last - first >= INTERVAL 2 HOUR",
        "severity": "medium",
        "kind": "beacon",
        "entity": "host",
        "title": "{host} called {peer} port {port} {contacts} times in {duration}, regularity {regularity:.2f}",
    },
)

_DNS_TUNNELLING = Preset(
    "clients that look up 100 different names made to carry data below one domain within 15 minutes",
    "Zeek dns.log",
    {
        "input": "zeek.dns",
        # 40 characters before the domain, or 16 where the answer has room too (NULL, CNAME, MX, TXT, KEY, private): a
        # name that people chose has fewer, and one domain has few that are longer.
        "where": f"({BELOW} >= 40 OR {BELOW} >= 16 AND qtype IN (5, 10, 15, 16, 25, 65399))"
        f" AND NOT regexp_matches({DOMAIN}, '{LABELLED}') AND coalesce(id.resp_p, 53) NOT IN (137, 5353, 5355)",
        "key": {"host": "id.orig_h", "domain": DOMAIN},
        "observe": BELOW,
        "reduce": {
            "names": {"unique": "lower(query)", "max": 20_000},
            "length": "average",
            "characters": "sum",
            "some": {"sample": "query", "size": 3},
        },
        "epoch": "15m",
        "threshold": {"of": "names", "at": [100, 1000, 10_000]},
        "severity": ["medium", "high", "high"],
        "kind": "dns-tunnel",
        "entity": "host",
        "title": "{host} looked up {names} names below {domain}, {length:.0f} characters long on average, as {some}",
    },
)

_NEW_EXTERNAL_SERVICE = Preset(
    "services of ours that answer clients from outside and did not in the 30 days before",
    "flows of more than a day",
    {
        "input": "flow",
        # An FTP server calls back from port 20 to a port that is no service.
        "where": f"{INBOUND} AND {SERVED} AND coalesce(sport, 0) <> 20 AND coalesce(service, '') <> 'ftp-data'",
        "key": {"host": "daddr", "port": "dport", "proto": "proto"},
        "reduce": {
            "sessions": "count",
            "clients": {"unique": "saddr", "max": 1000},
            "some": {"sample": "saddr", "size": 5},
        },
        "epoch": "15m",
        "threshold": "sessions >= 1",
        "new_for": "30d",
        "learn": "1d",
        "severity": "medium",
        "kind": "new-service",
        "entity": "host",
        "title": "{host} serves {proto} port {port} to the outside, which it did not before; first to {some}",
    },
)

_DATA_VOLUME_OUT = Preset(
    "hosts of ours that send 2 GB, 20 GB or 200 GB in an hour to the outside",
    "flows",
    {
        "input": "flow",
        "where": OUTBOUND,
        "key": {"host": "saddr"},
        # An hour of video by telephone sends about 1 GB.
        "observe": "coalesce(sbytes, orig_bytes)",
        "reduce": {
            "bytes": "sum",
            "peers": {"hll_unique": "daddr", "error": 0.03},
            "most": {"topk": "daddr", "size": 100},
        },
        "epoch": "1h",
        "threshold": {"of": "bytes", "at": [2e9, 2e10, 2e11]},
        "severity": ["medium", "high", "critical"],
        "kind": "exfiltration",
        "entity": "host",
        "title": "{host} sent {bytes:.3g} bytes to {peers} outside host(s) in {duration}",
    },
)

_LONG_CONNECTIONS = Preset(
    "connections from a host of ours to the outside that lasted 12 hours, a day, or a week",
    "flows",
    {
        "input": "flow",
        # Phones hold 5223 and 5228 open for their notifications.
        "where": f"dur >= 43200000 AND {OUTBOUND} AND proto IN ('tcp', 'udp') AND dport NOT IN (123, 5223, 5228)",
        "key": {"host": "saddr", "peer": "daddr", "port": "dport"},
        "observe": "dur / 3600000.0",
        "reduce": {"hours": "max", "connections": "count", "services": {"unique": "service", "max": 10}},
        "epoch": "1d",
        "threshold": {"of": "hours", "at": [12, 24, 168]},
        "severity": ["medium", "medium", "high"],
        "kind": "long-connection",
        "entity": "host",
        "title": "{host} held a connection to {peer} port {port} for {hours:.1f} hours",
    },
)

_SYN_FLOOD = Preset(
    "services that get 1,000 TCP connections within a minute that are never completed",
    "flows",
    {
        "input": "flow",
        "where": HALF_OPEN,
        "key": {"host": "daddr", "port": "dport"},
        "reduce": {
            "half_open": "count",
            "sources": {"hll_unique": "saddr", "error": 0.03},
            "some": {"sample": "saddr", "size": 5},
        },
        "epoch": "1m",
        "threshold": {"of": "half_open", "at": [1000, 10_000, 100_000]},
        "severity": ["medium", "high", "critical"],
        "kind": "syn-flood",
        "entity": "host",
        "title": "{host} port {port} got {half_open} half-open connections from {sources} source(s) in {duration}",
    },
)

PRESETS: dict[str, Preset] = {
    "ssh-guessing": _SSH_GUESSING,
    "ftp-guessing": _FTP_GUESSING,
    "sqli-attacker": _SQLI_ATTACKER,
    "sqli-victim": _SQLI_VICTIM,
    "address-scan": _ADDRESS_SCAN,
    "port-scan": _PORT_SCAN,
    "traceroute": _TRACEROUTE,
    "weird-statistics": _WEIRD_STATISTICS,
    "application-statistics": _APPLICATION_STATISTICS,
    "beaconing": _BEACONING,
    "dns-tunnelling": _DNS_TUNNELLING,
    "new-external-service": _NEW_EXTERNAL_SERVICE,
    "data-volume-out": _DATA_VOLUME_OUT,
    "long-connections": _LONG_CONNECTIONS,
    "syn-flood": _SYN_FLOOD,
}
"""By name, which is the summary's name too."""
