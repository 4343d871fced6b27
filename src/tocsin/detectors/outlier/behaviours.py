"""The behaviours of a host that are measured, each as bits: how unusual it would be on an ordinary network.

A behaviour has one understandable statistic x (addresses tried in vain, logins in ten minutes, bytes sent out, …). Its
prior is a Pareto tail, the usual shape of what hosts do in a day: P(X > x) = (x / unit)^-steep, so bits are
steep · log2(x / unit), never under 0. The host detector sets these bits against what the other hosts of the network do.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

PEAK_MS = 600_000

AUTH_PORTS = (
    21,
    22,
    23,
    110,
    143,
    445,
    465,
    587,
    993,
    995,
    1433,
    1521,
    2222,
    2323,
    3306,
    3389,
    5432,
    5900,
    5985,
    5986,
    8291,
)
"""Services one logs in to."""

SHELL_PORTS = (21, 22, 23, 2222, 2323, 3389, 5900, 5985, 5986, 8291)
"""Those of them that people use rather than programs."""

WEB_PORTS = (80, 443, 8080, 8443)
"""Services of every kind."""

ADMIN_PORTS = (22, 23, 135, 139, 445, 3389, 5900, 5985, 5986)
"""Services through which a host is administered, or taken over."""

SHORTEST_BEAT_MS = 1_000
"""Contacts that follow closer are one piece of work, not a rhythm."""

LOOK_BYTES = 1_200
"""A connection of fewer bytes, both ways and with headers, has hardly got beyond the greeting."""


@dataclass(frozen=True)
class Behaviour:
    """One behaviour: where its tail begins (`unit`), how steeply it falls, and what excuses it.

    excused_by_history: an attack that goes on for days must not become the host's own normal; only behaviours that a
    role explains (a mail server mails, a backup host sends) are measured against the host's other days.
    outbreak: few hosts have an innocent reason for it, so a handful that do it on one day do not excuse each other.
    """

    name: str
    unit: float
    steep: float
    expected: str
    excused_by_history: bool = False
    outbreak: bool = False


BEHAVIOURS = (
    Behaviour("address-scan", 5, 3.0, "few addresses that do not answer on one port", outbreak=True),
    Behaviour("port-scan", 8, 3.0, "few ports of one address that do not answer", outbreak=True),
    Behaviour("brute-force", 6, 3.0, "few short connections to one login service in ten minutes", outbreak=True),
    Behaviour("beacon", 1, 1.0, "no contact in a steady rhythm to a place that few others go to", outbreak=True),
    Behaviour(
        "exfiltration",
        2e7,
        1.6,
        "little sent to one outside address, and less than comes back",
        excused_by_history=True,
        outbreak=True,
    ),
    Behaviour(
        "lateral-movement",
        3,
        4.0,
        "few hosts of our own reached on administration ports",
        excused_by_history=True,
        outbreak=True,
    ),
    Behaviour("flood", 100, 2.0, "few unanswered flows to one address in ten minutes", outbreak=True),
    Behaviour("mail-fan-out", 4, 2.0, "mail sent through one or two servers", excused_by_history=True),
    Behaviour(
        "dns-tunnel", 1000, 2.0, "few DNS questions to a resolver that others do not use", excused_by_history=True
    ),
)
NAMES = [behaviour.name for behaviour in BEHAVIOURS]
BY_NAME = {behaviour.name: behaviour for behaviour in BEHAVIOURS}

ACTIVITY = pa.struct(
    [
        ("behaviour", pa.string()),
        ("proto", pa.string()),
        ("daddr", pa.string()),
        ("dport", pa.int32()),
        ("bits", pa.float64()),
        ("flows", pa.int64()),
        ("peers", pa.int64()),
        ("ports", pa.int64()),
        ("failed", pa.int64()),
        ("bytes_out", pa.int64()),
        ("bytes_in", pa.int64()),
        ("gap_ms", pa.float64()),
        ("on_beat", pa.float64()),
        ("same_size", pa.float64()),
        ("users", pa.int64()),
        ("peak", pa.int64()),
        ("first", pa.timestamp("us", tz="UTC")),
        ("last", pa.timestamp("us", tz="UTC")),
    ]
)
"""One thing a host did: the part of it that is not fixed by the behaviour (address, port) is null.

flows: how many; peers, ports: distinct; failed: peers, ports or flows without an answer; users: hosts of ours that go
to the same place; peak: most flows in ten minutes; gap_ms: median time between contacts; on_beat, same_size: share of
gaps and of sizes near their medians.
"""

KEPT_EACH = 6
"""Most activities kept of a host and behaviour."""

_TIMES = "make_timestamptz(min(first) * 1000) AS first, make_timestamptz(max(last) * 1000) AS last"
_ONE_TIME = "make_timestamptz(first * 1000) AS first, make_timestamptz(last * 1000) AS last"


def _bits(name: str, statistic: str) -> str:
    behaviour = BY_NAME[name]
    return f"greatest(0, {behaviour.steep} * log2(greatest({statistic}, 1e-9) / {behaviour.unit}))"


# First contacts of a scanner mostly fail, those of others mostly succeed; with odds 4 : 1 both ways each failure says
# as much for a scan as each success says against it (threshold random walk: Jung, Paxson, Berger, Balakrishnan 2004,
# section 5). A file-sharing host fails too, but on as many ports as it has peers: `focus` is the share of its failures
# on its eight busiest ports. Unanswered UDP counts less: games, telephony and name services ask many in vain.
_NET_FAILURES = "(2 * failed - peers) * pow(focus, 3) * CASE WHEN proto = 'udp' THEN 0.3 ELSE 1 END"
_ADDRESS_SCAN = f"""
    WITH tried AS (
      SELECT s, proto, port, count(*) AS peers, count_if(unanswered = n) AS failed, sum(n) AS flows,
             sum(out) AS bytes_out, sum(back) AS bytes_in, {_TIMES}
      FROM contacts WHERE proto IN ('tcp', 'udp', 'sctp') OR proto LIKE '%icmp%' GROUP BY s, proto, port
    ), focused AS (
      SELECT s, sum(failed) FILTER (place <= 8) / sum(failed) AS focus
      FROM (SELECT s, failed, row_number() OVER (PARTITION BY s ORDER BY failed DESC) AS place FROM tried
            WHERE failed > 0)
      GROUP BY s
    )
    SELECT s, proto, port AS dport, peers, failed, flows, bytes_out, bytes_in, first, last,
           {_bits("address-scan", _NET_FAILURES)} AS bits
    FROM tried JOIN focused USING (s)
"""

# Without the ports that traceroute counts through.
_NET_CLOSED = "(2 * count_if(unanswered = n) - count(*)) * CASE WHEN proto = 'udp' THEN 0.3 ELSE 1 END"
_PORT_SCAN = f"""
    SELECT s, proto, d, count(*) AS ports, count_if(unanswered = n) AS failed, sum(n) AS flows,
           sum(out) AS bytes_out, sum(back) AS bytes_in, {_TIMES},
           {_bits("port-scan", _NET_CLOSED)} AS bits
    FROM contacts WHERE proto = 'tcp' OR (proto = 'udp' AND port NOT BETWEEN 33434 AND 33534)
    GROUP BY s, proto, d HAVING count(*) > {BY_NAME["port-scan"].unit}
"""

# Applications, too, open many short connections to databases and mail stores, but of differing sizes.
_GUESSES = f"""peak * pow(brief / n, 2)
    * CASE WHEN port IN {SHELL_PORTS} THEN 0.3 + 0.7 * same_size ELSE same_size * same_size END"""
_BRUTE_FORCE = f"""
    SELECT s, proto, d, port AS dport, n AS flows, unanswered AS failed, out AS bytes_out, back AS bytes_in, peak,
           same_size, {_ONE_TIME},
           {_bits("brute-force", _GUESSES)} AS bits
    FROM contacts JOIN beats ON contact = hash(s, d, proto, port) WHERE proto = 'tcp' AND port IN {AUTH_PORTS}
"""

# Regular contact is innocent when many hosts make it (updates, mail, time) and when the service is made of it;
# a port that few of our hosts use speaks a little for it, one that many use steadily against it (the web aside).
_BEACON = f"""
    SELECT s, proto, d, port AS dport, n AS flows, unanswered AS failed, out AS bytes_out, back AS bytes_in, users,
           peak, gap_ms, on_beat, same_size, {_ONE_TIME},
           20 * greatest(0, (on_beat - 0.3) / 0.7) * (0.5 + 0.5 * same_size)
              * least(1, greatest(0, log2(gaps / 5) / 2.2)) * sqrt(least(1, (last - first + gap_ms) / $span))
              / pow(users, 0.8)
              * CASE WHEN port IN {WEB_PORTS} THEN 1 ELSE 1 / sqrt(greatest(1, steady)) END
              * (1.25 - 0.25 * least(1, log2(callers) / log2(greatest(2, hosts))))
              * CASE WHEN unanswered = n THEN 0.6 ELSE 1 END
              * CASE WHEN d_ours THEN 0.35 ELSE 1 END
              * CASE WHEN proto = 'udp' AND port = 123 THEN 0.15
                     WHEN port IN (67, 68, 137, 138, 547, 1900, 3702, 5353, 5355) THEN 0.1
                     WHEN port = 53 THEN 0.4
                     WHEN proto LIKE '%icmp%' THEN 0.3
                     ELSE 1 END AS bits
    FROM contacts JOIN beats ON contact = hash(s, d, proto, port) JOIN popular USING (d)
    JOIN (SELECT proto, port, count(DISTINCT s) AS callers, count(DISTINCT s) FILTER (on_beat > 0.6) AS steady
          FROM contacts LEFT JOIN beats ON contact = hash(s, d, proto, port) WHERE s_ours GROUP BY proto, port)
      USING (proto, port)
    CROSS JOIN (SELECT count(DISTINCT s) AS hosts FROM contacts WHERE s_ours)
    WHERE s_ours AND gaps >= 10 AND gap_ms >= {SHORTEST_BEAT_MS}
"""

# Each further host that goes to the same place makes it more likely to be a service than a drop.
_EXFILTRATION = f"""
    SELECT s, d, sum(n) AS flows, sum(out) AS bytes_out, sum(back) AS bytes_in, max(users) AS users, {_TIMES},
           {_bits("exfiltration", "greatest(0, sum(out) - 2 * sum(back)) / max(users)")} AS bits
    FROM contacts JOIN popular USING (d) WHERE s_ours AND NOT d_ours AND unanswered < n GROUP BY s, d
"""

# Hosts that let one in, each counting less the more others they let in as well: a server is there for it. Who only
# looks whether a service answers, as monitoring does, says too little for a login.
_SAID = f"CASE WHEN out + back < {LOOK_BYTES} * n THEN 0.1 ELSE 1 END"
_LATERAL = f"""
    SELECT s, proto, count(DISTINCT d) AS peers, sum(n) AS flows, sum(out) AS bytes_out, sum(back) AS bytes_in,
           {_TIMES}, {_bits("lateral-movement", f"sum({_SAID} / sqrt(callers))")} AS bits
    FROM (SELECT *, count(*) OVER (PARTITION BY d, port) AS callers FROM contacts
          WHERE s_ours AND d_ours AND proto = 'tcp' AND port IN {ADMIN_PORTS} AND unanswered < n)
    GROUP BY s, proto
"""

# A sensor that lets flows be long shows few flows of many packets instead; 500 bytes stand for a packet not counted.
_UNHEARD = "sum(CASE WHEN unanswered = n AND NOT d_ours THEN greatest(packets, out / 500) ELSE 0 END) / 2000"
_FLOWS_AT_ONCE = "coalesce(sum(peak) * greatest(0.02, sum(unanswered) / sum(n)), 0)"
_FLOOD = f"""
    SELECT s, d, proto, sum(n) AS flows, sum(unanswered) AS failed, sum(out) AS bytes_out, sum(back) AS bytes_in,
           max(peak) AS peak, count(*) AS ports, {_TIMES},
           {_bits("flood", f"greatest({_FLOWS_AT_ONCE}, {_UNHEARD})")} AS bits
    FROM contacts LEFT JOIN beats ON contact = hash(s, d, proto, port) GROUP BY s, d, proto
"""

# Who takes mail in is a mail server, and sends it out to many.
_MAIL = f"""
    SELECT s, 'tcp' AS proto, 25 AS dport, count(*) AS peers, count_if(unanswered = n) AS failed, sum(n) AS flows,
           sum(out) AS bytes_out, sum(back) AS bytes_in, {_TIMES},
           {_bits("mail-fan-out", "count(*) * CASE WHEN any_value(clients) IS NULL THEN 1 ELSE 0.05 END")} AS bits
    FROM contacts LEFT JOIN (SELECT s, clients FROM served WHERE proto = 'tcp' AND port = 25) USING (s)
    WHERE s_ours AND NOT d_ours AND proto = 'tcp' AND port = 25 GROUP BY s
"""

_DNS_TUNNEL = f"""
    SELECT s, proto, d, port AS dport, n AS flows, unanswered AS failed, out AS bytes_out, back AS bytes_in, users,
           {_ONE_TIME},
           {_bits("dns-tunnel", "n / (users * users)")} AS bits
    FROM contacts JOIN popular USING (d)
    WHERE s_ours AND NOT d_ours AND port = 53 AND s NOT IN (SELECT s FROM served WHERE port = 53 AND clients >= 3)
"""

_MEASURES = {
    "address-scan": _ADDRESS_SCAN,
    "port-scan": _PORT_SCAN,
    "brute-force": _BRUTE_FORCE,
    "beacon": _BEACON,
    "exfiltration": _EXFILTRATION,
    "lateral-movement": _LATERAL,
    "flood": _FLOOD,
    "mail-fan-out": _MAIL,
    "dns-tunnel": _DNS_TUNNEL,
}


def measure(connection: Any, *, span_ms: int) -> None:
    """Fill table `strongest` with the activities of each host, from `contacts`, `beats` and `addresses`.

    span_ms: time that the flows cover.
    """
    connection.execute(
        # A place outside is a network: services answer from many addresses of one.
        "CREATE TABLE popular AS SELECT d, max(CASE WHEN d_ours THEN by_host ELSE by_net END) AS users FROM"
        " (SELECT DISTINCT d, d_net, d_ours FROM contacts)"
        " JOIN (SELECT d, greatest(1, count(DISTINCT s)) AS by_host FROM contacts WHERE s_ours GROUP BY d) USING (d)"
        " JOIN (SELECT d_net, count(DISTINCT s) AS by_net FROM contacts WHERE s_ours GROUP BY d_net) USING (d_net)"
        " GROUP BY d"
    )
    connection.execute(
        "CREATE TABLE served AS SELECT d AS s, proto, port, count(DISTINCT s) AS clients FROM contacts"
        " WHERE unanswered < n GROUP BY d, proto, port"
    )
    columns = ", ".join(f'"{field.name}" {_sql_type(field)}' for field in ACTIVITY)
    connection.execute(f"CREATE TABLE activities (s UBIGINT, d UBIGINT, {columns})")
    for name, query in _MEASURES.items():
        parameters = {"span": span_ms} if "$span" in query else None
        connection.execute(
            f"INSERT INTO activities BY NAME SELECT *, '{name}' AS behaviour FROM ({query}) WHERE bits > 0",
            parameters,
        )
    connection.execute(
        f"CREATE TABLE strongest AS SELECT a.* EXCLUDE (daddr), b.address AS daddr FROM activities a"
        f" LEFT JOIN addresses b ON a.d = b.id QUALIFY row_number() OVER"
        f" (PARTITION BY a.s, behaviour ORDER BY bits DESC, b.address, dport) <= {KEPT_EACH}"
    )


def _sql_type(field: pa.Field) -> str:
    names = {"string": "VARCHAR", "int32": "INTEGER", "int64": "BIGINT", "double": "DOUBLE"}
    return names.get(str(field.type), "TIMESTAMPTZ")
