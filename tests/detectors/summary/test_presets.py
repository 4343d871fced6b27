"""Each preset rings once at a small attack, and not at what hosts do that work as they should."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from tocsin.cluster.single import SingleEngine
from tocsin.detectors.summary.build import build
from tocsin.detectors.summary.findings import title
from tocsin.detectors.summary.presets import PRESETS
from tocsin.settings import load_settings
from tocsin.settings_summaries import SummarySettings

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
SECOND_US = 1_000_000
HOUR_S, DAY_S = 3600, 86_400
TIME = pa.timestamp("us", tz="UTC")


def at(second):
    return MIDNIGHT + timedelta(seconds=second)


def flow(second, saddr, daddr, dport, *, duration=0.2, proto="tcp", **seen):
    """A flow as all sensors tell it: when, who, and how much."""
    sizes = {"spkts": 6, "dpkts": 5, "sbytes": 900, "dbytes": 4000}
    times = {"stime": at(second), "etime": at(second + duration), "dur": int(duration * 1000)}
    ends = {"proto": proto, "saddr": saddr, "sport": 40_000 + int(second) % 20_000, "daddr": daddr, "dport": dport}
    return times | ends | sizes | seen


def served(second, saddr, daddr, dport, **seen):
    """A TCP flow with payload both ways, by Zeek."""
    return flow(second, saddr, daddr, dport, conn_state="SF", history="ShADadFf", **seen)


def http(second, client, server, uri):
    return {"ts": at(second), "id.orig_h": client, "id.resp_h": server, "id.resp_p": 80, "method": "GET", "uri": uri}


def dns(second, client, query, qtype=1, port=53):
    return {"ts": at(second), "id.orig_h": client, "id.resp_p": port, "query": query, "qtype": qtype}


def ssh(second, client, server, success=False):
    return {"ts": at(second), "id.orig_h": client, "id.resp_h": server, "auth_success": success}


def ftp(second, client, server, command, code):
    named = {"command": command, "arg": "x", "reply_code": code}
    return {"ts": at(second), "id.orig_h": client, "id.resp_h": server, **named}


UNANSWERED = {
    "zeek": {"conn_state": "S0", "history": "S", "dpkts": 0, "dbytes": 0, "sbytes": 60, "spkts": 1},
    "argus": {"conn_state": "S_", "dpkts": 0, "dbytes": 0, "sbytes": 60, "spkts": 1},
    "eve": {"conn_state": "new", "uflags": "S", "dpkts": 0, "dbytes": 0, "sbytes": 60, "spkts": 1},
    "capture": {"uflags": "S", "dpkts": 0, "dbytes": 0, "sbytes": 74, "spkts": 1},
    "counts": {"dpkts": 0, "dbytes": 0, "sbytes": 60, "spkts": 1},
}
REJECTED = {
    "zeek": {"conn_state": "REJ", "history": "Sr", "dpkts": 1, "dbytes": 40, "sbytes": 60, "spkts": 1},
    "argus": {"conn_state": "S_RA", "dpkts": 1, "dbytes": 60, "sbytes": 60, "spkts": 1},
    "eve": {"conn_state": "closed", "uflags": "SRA", "dpkts": 1, "dbytes": 60, "sbytes": 60, "spkts": 1},
    "capture": {"uflags": "SRA", "dpkts": 1, "dbytes": 60, "sbytes": 74, "spkts": 1},
}
FTP_FAILURES_S = [
    *(0.00, 2.46, 4.52, 6.20, 8.15, 10.04, 11.87, 13.98, 15.79, 17.97, 19.90, 21.77, 24.11, 26.20, 27.90, 29.20),
    *(30.64, 32.55, 35.07, 37.33, 39.54, 41.68, 43.44, 45.14, 47.44, 49.02, 51.21, 53.33, 55.07, 56.75),
]
"""When logins failed in the capture bruteforce.pcap, since the first failure."""

PAYLOADS = [
    *("1'%20OR%20'1'='1", "1%20UNION%20ALL%20SELECT%20NULL,NULL--", "1)%20AND%205678=5678%20AND%20(1=1"),
    *("1%20AND%20SLEEP(5)", "1'%20ORDER%20BY%2010--%20-", "1;%20EXEC%20xp_cmdshell('dir')"),
]
SEARCHES = [
    *("/?q=rock%20and%20roll", "/odata/Items?$filter=Price%20gt%205%20and%20Name%20eq%20'x'", "/o'reilly/books?p=1"),
    *("/rest?jql=project%20%3D%20%22A%22%20AND%20status%20%3D%20%22Open%22", "/?q=select+a+car+from+the+list"),
]


@cache
def summary_of(name):
    return build([SummarySettings(preset=name)])[0]


def crossings(names, kind, records, batch=100):
    """Return what presets tell about records, in order of time."""
    summaries = [summary_of(name) for name in names]
    engine = SingleEngine([each for each in summaries if any(its.kind == kind for its in each.inputs)])
    records = sorted(records, key=_time)
    seen = []
    table = _table(records)
    for start in range(0, len(records), batch):
        piece = table.slice(start, batch)
        numbers = np.arange(start, start + piece.num_rows, dtype=np.uint64)
        seen += engine.observe(kind, piece, numbers).crossings
        newest = max(_time(each) for each in records[start : start + batch])
        seen += engine.advance(int(newest.timestamp() * SECOND_US)).crossings
    seen += engine.finish().crossings
    assert not [status for status in engine.status() if status.counts.get("rejected") or status.counts.get("late")]
    return seen


def results(name, kind, records):
    """Return a preset's results as rows, all epochs together."""
    engine = SingleEngine([summary_of(name)])
    found = engine.observe(kind, _table(records), np.arange(len(records), dtype=np.uint64))
    found.extend(engine.finish())
    assert not found.crossings
    return [row for result in found.results for row in result.table.to_pylist()]


def _time(record):
    return record["ts"] if "ts" in record else record.get("etime") or record["stime"]


def _table(records):
    columns = list(dict.fromkeys(name for record in records for name in record))
    values = {name: [record.get(name) for record in records] for name in columns}
    return pa.table(
        {name: pa.array(given, TIME if isinstance(given[0], datetime) else None) for name, given in values.items()}
    )


def failed(how, count, *, target=lambda n: f"10.0.{n // 250}.{n % 250 + 1}", port=lambda n: 22, step=1.0):
    return [flow(n * step, "10.9.9.9", target(n), port(n), **how) for n in range(count)]


def one_target(n):
    return "10.0.0.1"


def route(*, probes=True, routers=5, ipv6=False):
    """What a traceroute leaves in the flow log: unanswered probes, and routers' complaints as flows of their own."""
    host, target = ("fd00::9", "2001:db8::1") if ipv6 else ("10.9.9.9", "93.184.216.34")
    sent = [flow(n, host, target, 33_434 + n, proto="udp", dpkts=0, dbytes=0, spkts=1) for n in range(20)]
    types = {"sport": 3 if ipv6 else 11, "dport": 0, "conn_state": "OTH", "dpkts": 0}
    told = [
        flow(n + 0.1, f"2001:db8:{n:x}::1" if ipv6 else f"198.51.{n}.1", host, proto="icmp", **types)
        for n in range(routers)
    ]
    return (sent if probes else []) + told


def beacon(count, gap_s, *, jitter=0.2, **seen):
    chance = random.Random(7)
    return [
        served((n + chance.uniform(-jitter, jitter)) * gap_s + 600, "10.9.9.9", "203.0.113.7", 443, **seen)
        for n in range(count)
    ]


def browsing(hours):
    """Page views with random pauses, a handful of connections each, to a few servers."""
    chance = random.Random(3)
    second, flows = 0.0, []
    while second < hours * HOUR_S:
        server = f"203.0.113.{chance.randrange(1, 5)}"
        flows += [
            served(second + n * 0.3, "10.9.9.9", server, 443, sbytes=chance.randrange(500, 9000), duration=2.0)
            for n in range(chance.randrange(1, 6))
        ]
        second += chance.expovariate(1 / 90)
    return flows


def tunnel(count, *, length=60, qtype=1, domain="t.example.org"):
    chance = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return [
        dns(n * 3, "10.9.9.9", "".join(chance.choices(letters, k=length)) + f".{domain}", qtype) for n in range(count)
    ]


def services(hours, *ports, first_s=0):
    """Clients from outside that are served at these ports, each ten times an hour."""
    return [
        served(first_s + n * 360, f"203.0.113.{n % 200 + 1}", "10.0.0.80", port)
        for n in range(hours * 10)
        for port in ports
    ]


def sent(gigabytes, saddr="10.9.9.9", daddr="203.0.113.7", flows=20):
    return [served(n * 60, saddr, daddr, 443, sbytes=int(gigabytes * 1e9 / flows)) for n in range(flows)]


def flood(count, how=None, port=lambda n: 80):
    how = how or UNANSWERED["zeek"]
    return [flow(n * 0.05, f"198.51.{n // 250}.{n % 250 + 1}", "10.0.0.80", port(n), **how) for n in range(count)]


ATTACKS = {
    "ssh-guessing": ("zeek.ssh", lambda: [ssh(n * 10, "198.51.100.9", f"10.0.0.{n % 3}") for n in range(40)]),
    "ftp-guessing": ("zeek.ftp", lambda: [ftp(n, "198.51.100.9", "10.0.0.1", "PASS", 530) for n in FTP_FAILURES_S]),
    "sqli-attacker": (
        "zeek.http",
        lambda: [http(n, "198.51.100.9", f"10.0.0.{n % 3}", f"/a?id={PAYLOADS[n % 6]}") for n in range(60)],
    ),
    "sqli-victim": (
        "zeek.http",
        lambda: [http(n, f"198.51.100.{n}", "10.0.0.1", f"/a?id={PAYLOADS[n % 6]}") for n in range(60)],
    ),
    **{f"address-scan {name}": ("flow", lambda how=how: failed(how, 40)) for name, how in UNANSWERED.items()},
    **{
        f"port-scan {name}": ("flow", lambda how=how: failed(how, 20, target=one_target, port=lambda n: n + 1))
        for name, how in REJECTED.items()
    },
    "traceroute udp": ("flow", route),
    "traceroute ipv6": ("flow", lambda: route(ipv6=True)),
    "traceroute ping": (
        "flow",
        lambda: [*route(probes=False), flow(0, "10.9.9.9", "93.184.216.34", 0, proto="icmp", sport=8, dpkts=1)],
    ),
    "beaconing": ("flow", lambda: beacon(60, 300)),
    "beaconing alike": ("flow", lambda: beacon(240, 60, jitter=0.05, sbytes=700)),
    "dns-tunnelling long": ("zeek.dns", lambda: tunnel(150)),
    "dns-tunnelling txt": ("zeek.dns", lambda: tunnel(150, length=18, qtype=16)),
    "new-external-service": ("flow", lambda: services(30, 443) + services(1, 4444, first_s=28 * HOUR_S)),
    "data-volume-out": ("flow", lambda: sent(3)),
    "long-connections": ("flow", lambda: [served(60, "10.9.9.9", "203.0.113.7", 443, duration=13 * HOUR_S)]),
    "syn-flood": ("flow", lambda: flood(1100)),
    "syn-flood argus": ("flow", lambda: flood(1100, UNANSWERED["argus"])),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_rings_once(attack):
    name, _, _ = attack.partition(" ")
    kind, records = ATTACKS[attack]
    (crossing,) = crossings(PRESETS, kind, records())
    assert crossing.summary == name


HARMLESS = {
    "few failed logins": ("zeek.ssh", lambda: [ssh(n * 10, "10.9.9.9", "10.0.0.1") for n in range(29)]),
    "failed logins over hours": ("zeek.ssh", lambda: [ssh(n * 120, "10.9.9.9", "10.0.0.1") for n in range(100)]),
    "many logins": ("zeek.ssh", lambda: [ssh(n, "10.9.9.9", "10.0.0.1", success=True) for n in range(500)]),
    "logins nobody judged": ("zeek.ssh", lambda: [ssh(n, "10.9.9.9", "10.0.0.1", success=None) for n in range(99)]),
    "ftp at work": (
        "zeek.ftp",
        lambda: [
            ftp(n, "10.9.9.9", "10.0.0.1", command, code)
            for n in range(300)
            for command, code in (("USER", 331), ("PASS", 230), ("RETR", 550), ("STOR", 226))
        ],
    ),
    "few failed ftp logins": ("zeek.ftp", lambda: [ftp(n, "10.9.9.9", "10.0.0.1", "PASS", 530) for n in range(19)]),
    "searches": (
        "zeek.http",
        lambda: [http(n * 0.1, "10.9.9.9", "203.0.113.7", SEARCHES[n % 5]) for n in range(2000)],
    ),
    "a few injections": (
        "zeek.http",
        lambda: [http(n, "10.9.9.9", "10.0.0.1", f"/a?id={PAYLOADS[n % 6]}") for n in range(49)],
    ),
    "24 dead addresses": ("flow", lambda: failed(UNANSWERED["zeek"], 24)),
    "a dead server": ("flow", lambda: failed(UNANSWERED["zeek"], 400, target=one_target, step=0.5)),
    "dead addresses over hours": ("flow", lambda: failed(REJECTED["zeek"], 200, step=60)),
    "a crawler": ("flow", lambda: [served(n, "10.9.9.9", f"203.0.{n // 250}.{n % 250 + 1}", 443) for n in range(800)]),
    "health checks": ("flow", lambda: failed({"conn_state": "RSTO", "history": "ShR"}, 900, target=one_target)),
    "file sharing": (
        "flow",
        lambda: failed({"conn_state": "S0", "history": "D", "proto": "udp", "dpkts": 0}, 300, port=lambda n: 6881),
    ),
    "passive ftp": (
        "flow",
        lambda: [served(n, "10.9.9.9", "10.0.0.1", 50_000 + n, service="ftp-data") for n in range(300)],
    ),
    "14 closed ports": ("flow", lambda: failed(REJECTED["zeek"], 14, target=one_target, port=lambda n: n + 1)),
    "routing loops": ("flow", lambda: route(probes=False)),
    "a route of two": ("flow", lambda: route(routers=2)),
    "browsing": ("flow", lambda: browsing(12)),
    "clocks": ("flow", lambda: [flow(n * 64, "10.9.9.9", "203.0.113.7", 123, proto="udp") for n in range(1000)]),
    "health checks inside": ("flow", lambda: [served(n * 30, "10.9.9.9", "10.0.0.1", 80) for n in range(1000)]),
    "a short burst": ("flow", lambda: [served(n * 10, "10.9.9.9", "203.0.113.7", 443) for n in range(100)]),
    "ten regular calls": ("flow", lambda: beacon(10, 900)),
    "long names of one host": ("zeek.dns", lambda: [dns(n, "10.9.9.9", f"{'x' * 50}.example.org") for n in range(900)]),
    "a delivery network": (
        "zeek.dns",
        lambda: [dns(n / 2, "10.9.9.9", f"d{n * 7919:013x}.cloudfront.net") for n in range(1500)],
    ),
    "an ad server": ("zeek.dns", lambda: tunnel(500, length=44, domain="safeframe.googlesyndication.com")),
    "reverse look-ups": (
        "zeek.dns",
        lambda: [dns(n / 2, "10.9.9.9", f"{'.'.join(f'{n:032x}')}.ip6.arpa", 12) for n in range(1500)],
    ),
    "names around": ("zeek.dns", lambda: [dns(n, "10.9.9.9", f"{n:040x}.local", 16, port=5353) for n in range(800)]),
    "mail's own names": (
        "zeek.dns",
        lambda: [dns(n, "10.9.9.9", f"selector{n % 9}._domainkey.example.org", 16) for n in range(800)],
    ),
    "many domains": ("zeek.dns", lambda: [dns(n, "10.9.9.9", f"{n:050x}.example{n}.org") for n in range(800)]),
    "services as ever": ("flow", lambda: services(40, 443, 25)),
    "a new service on the first day": ("flow", lambda: services(40, 443) + services(1, 22, first_s=9 * HOUR_S)),
    "closed ports from outside": (
        "flow",
        lambda: (
            services(40, 443)
            + [flow(30 * HOUR_S + n * 60, "198.51.100.9", "10.0.0.80", n, **REJECTED["zeek"]) for n in range(1, 99)]
        ),
    ),
    "a new service inside": (
        "flow",
        lambda: [*services(40, 443), served(35 * HOUR_S, "10.9.9.9", "10.0.0.80", 8080)],
    ),
    "video by telephone": ("flow", lambda: sent(1.9)),
    "backup inside": ("flow", lambda: sent(50, daddr="10.0.0.7")),
    "a download": ("flow", lambda: [served(n, "10.9.9.9", "203.0.113.7", 443, dbytes=10**9) for n in range(50)]),
    "a working day": ("flow", lambda: [served(60, "10.9.9.9", "203.0.113.7", 443, duration=9 * HOUR_S)]),
    "a mount inside": ("flow", lambda: [served(60, "10.9.9.9", "10.0.0.7", 2049, duration=3 * DAY_S)]),
    "notifications": ("flow", lambda: [served(60, "10.9.9.9", "203.0.113.7", 5228, duration=20 * HOUR_S)]),
    "a busy server": (
        "flow",
        lambda: [served(n * 0.01, f"198.51.{n // 250}.{n % 250 + 1}", "10.0.0.80", 80) for n in range(5000)],
    ),
    "a server with a full queue": ("flow", lambda: flood(900)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_nothing_rings_where_nothing_is_wrong(name):
    kind, records = HARMLESS[name]
    assert [title_of(crossing) for crossing in crossings(PRESETS, kind, records(), batch=1000)] == []


def title_of(crossing):
    return title(summary_of(crossing.summary), crossing)


def test_failed_ftp_logins_are_told_as_in_the_golden_case():
    kind, records = ATTACKS["ftp-guessing"]
    (crossing,) = crossings(["ftp-guessing"], kind, records())
    assert title_of(crossing) == "198.51.100.9 had 20 failed FTP logins on 1 server(s) in 37 s"


def test_a_scan_that_goes_on_passes_level_after_level():
    told = crossings(["address-scan"], "flow", failed(UNANSWERED["zeek"], 300, step=0.5))
    assert [crossing.levels for crossing in told] == [(25.0,), (250.0,)]


def test_a_flood_of_many_ports_is_a_port_scan_and_no_flood():
    by_one = [{**each, "saddr": "198.51.100.9"} for each in flood(1100, port=lambda n: n + 1)]
    assert {crossing.summary for crossing in crossings(PRESETS, "flow", by_one)} == {"port-scan"}


def test_a_new_service_is_told_once():
    records = services(30, 443) + services(2, 4444, first_s=28 * HOUR_S)
    (crossing,) = crossings(["new-external-service"], "flow", records)
    assert crossing.key == {"host": "10.0.0.80", "port": "4444", "proto": "tcp"}


def test_weird_statistics_count_by_name():
    records = [
        {"ts": at(n), "id.orig_h": f"10.0.0.{n % 4}", "name": "bad_TCP_checksum" if n % 3 else "dns_unmatched_reply"}
        for n in range(12)
    ]
    rows = {row["name"]: row for row in results("weird-statistics", "zeek.weird", records)}
    assert {name: (row["seen"], row["hosts"]) for name, row in rows.items()} == {
        "bad_TCP_checksum": (8, 4),
        "dns_unmatched_reply": (4, 4),
    }


def test_application_statistics_count_by_service():
    records = [
        served(n, f"10.0.0.{n % 3}", "10.0.0.80", 80, service=("http", "HTTP", None)[n % 3], sbytes=100, dbytes=50)
        for n in range(9)
    ]
    rows = {row["service"]: row for row in results("application-statistics", "flow", records)}
    assert {name: (row["bytes"], row["clients"], row["flows"]) for name, row in rows.items()} == {
        "http": (900, 2, 6),
        "unknown": (450, 1, 3),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_a_user_could_write(name):
    preset = PRESETS[name]
    written = yaml.safe_load(yaml.safe_dump({"name": name, **preset.settings}, sort_keys=False))
    (of_user,) = build([SummarySettings(**written)])
    assert of_user == summary_of(name)
    assert not {"info", "low"} & set(of_user.severities), "would not be kept: verdict.min_severity is medium"
    assert preset.help
    assert preset.needs
    assert "\n" not in preset.help + preset.needs


@pytest.mark.parametrize("name", PRESETS)
def test_records_that_lack_every_column_set_nothing_aside(name):
    summary = summary_of(name)
    engine = SingleEngine([summary])
    bare = {"flow": [flow(0, "10.9.9.9", "203.0.113.7", 80)]}
    for kind in {each.kind for each in summary.inputs}:
        rows = [{key: row[key] for key in ("stime", "proto", "saddr", "daddr")} for row in bare.get(kind, [])]
        engine.observe(kind, _table(rows or [{"ts": at(0)}]), np.arange(1, dtype=np.uint64))
    (status,) = engine.status()
    assert not status.counts["rejected"]


def test_the_example_is_good():
    path = Path(__file__).parents[3] / "examples" / "summaries.yaml"
    built = {each.name for each in build(load_settings(path).summaries)}
    assert {"refused-requests", "ssh-guessing"} <= built
