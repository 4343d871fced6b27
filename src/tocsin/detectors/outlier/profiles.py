"""What each host did in a day, from its flows: one pass, memory bounded by the number of distinct contacts.

Flows are folded into contacts (originator, responder, protocol, port) batch by batch; behaviours are then measured on
the contacts and, for timing, on the arrival times of those that repeat.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.outlier import behaviours
from tocsin.detectors.outlier.networks import HOME_NETWORKS, mark_addresses
from tocsin.errors import ModelError
from tocsin.kernels.beats import beat
from tocsin.records.flow import FLOW, flow_schema
from tocsin.records.sql import connect as connect_sql

COLUMNS = (
    "stime", "dur", "proto", "saddr", "daddr", "sport", "dport",
    "spkts", "dpkts", "sbytes", "dbytes", "orig_bytes", "resp_bytes", "conn_state",
)  # fmt: skip
"""The columns of a flow that are read; all but the mandatory ones may be absent."""

FOLD_ROWS = 1_000_000
ARRIVALS_AT_ONCE = 4_000_000
BURST_MS = 5_000.0
LEAST_FLOWS = 5
"""Flows without which a host is no example of anything: it had no occasion."""

MIN_CONTACTS = 12

PROFILE = pa.schema([
    ("day", pa.date32()), ("host", pa.string()), ("ours", pa.bool_()),
    ("population", pa.int64()), ("flows", pa.int64()), ("peers", pa.int64()), ("unanswered", pa.int64()),
    ("bytes_out", pa.int64()), ("bytes_in", pa.int64()),
    ("first", pa.timestamp("us", tz="UTC")), ("last", pa.timestamp("us", tz="UTC")),
    *[(name, pa.float64()) for name in behaviours.NAMES],
    ("activities", pa.list_(behaviours.ACTIVITY)),
])  # fmt: skip
"""One row a host and day. `population`: hosts of its kind (ours, or not) with some flows that day, row or not.

A column a behaviour: how unusual by itself, in bits, 0 where the host did nothing of the kind. `activities`: what made
them, strongest first. Hosts that are not ours have a row only where some behaviour is above 0.
"""

# A Zeek state or an Argus state says whether the responder ever answered; without one, its packets or bytes do.
# Argus joins the flags of both sides with "_": an opening with nothing or only a reset on the right had no answer.
_UNANSWERED = """
    CASE
      WHEN state IN ('S0', 'REJ', 'RSTOS0', 'RSTRH', 'SH') THEN true
      WHEN state IN ('SF', 'S1', 'S2', 'S3', 'RSTO', 'RSTR', 'SHR') THEN coalesce(dpkts, 1) = 0
      WHEN contains(state, '_') AND proto = 'tcp' THEN (contains(split_part(state, '_', 1), 'S') OR state = '_')
        AND NOT contains(split_part(state, '_', 1), 'P') AND split_part(state, '_', 2) IN ('', 'R', 'RA', 'AR')
      WHEN state LIKE 'UR%' THEN true
      WHEN state = 'ECO' THEN coalesce(dpkts, dbytes, resp_bytes, 0) = 0
      WHEN coalesce(dpkts, dbytes, resp_bytes) = 0 THEN true
      WHEN proto = 'tcp' AND state <> 'OTH' AND spkts <= 1 AND dpkts = 1 AND coalesce(resp_bytes, 0) = 0 THEN true
      ELSE false
    END
"""

# Of ICMP only echo is a host's own doing; errors answer somebody else.
# A flow from a well-known port to a high one that drew no answer is the second half of a conversation cut in two.
_FOLD = f"""
    WITH plain AS (
      SELECT epoch_ms(stime) AS t, lower(proto) AS proto, hash(saddr) AS s, hash(daddr) AS d,
             CASE WHEN lower(proto) LIKE '%icmp%' THEN 0 ELSE coalesce(dport, 0) END AS port, sport,
             coalesce(dur, 0) AS dur, spkts, dpkts, sbytes, dbytes, resp_bytes,
             upper(coalesce(conn_state, '')) AS state,
             least(coalesce(orig_bytes, sbytes, 0), coalesce(sbytes, orig_bytes, 0))::BIGINT AS out,
             least(coalesce(resp_bytes, dbytes, 0), coalesce(dbytes, resp_bytes, 0))::BIGINT AS back
      FROM incoming WHERE saddr IS NOT NULL AND daddr IS NOT NULL AND stime IS NOT NULL AND proto IS NOT NULL
        AND NOT (lower(proto) LIKE '%icmp%' AND coalesce(sport, 8) NOT IN (0, 8, 128))
    )
    SELECT *, {_UNANSWERED} AS unanswered FROM plain
"""

_PARTS = """
    INSERT INTO parts
    SELECT s, d, proto, port::INTEGER, count(*), count_if(unanswered),
           count_if(unanswered AND sport < 1024 AND port >= 1024 AND proto IN ('tcp', 'udp')),
           count_if(NOT unanswered AND dur < 30000 AND out + back < 30000),
           sum(out), sum(back), coalesce(sum(spkts), count(*)), min(t), max(t)
    FROM folded GROUP BY s, d, proto, port
"""

_CONTACTS = """
    CREATE TABLE contacts AS
    SELECT p.*, sa.ours AS s_ours, da.ours AS d_ours, da.net AS d_net
    FROM (SELECT s, d, proto, port, sum(n)::BIGINT AS n, sum(unanswered)::BIGINT AS unanswered,
                 sum(halves)::BIGINT AS halves, sum(brief)::BIGINT AS brief, sum(out)::BIGINT AS out,
                 sum(back)::BIGINT AS back, sum(packets)::BIGINT AS packets, min(first) AS first, max(last) AS last
          FROM parts GROUP BY s, d, proto, port) p
    JOIN addresses sa ON sa.id = p.s JOIN addresses da ON da.id = p.d
    WHERE NOT sa.special AND NOT da.special AND NOT (p.halves = p.n)
"""

_HOSTS = """
    SELECT a.address AS host, a.ours AS ours, h.* EXCLUDE (s), b.* EXCLUDE (s)
    FROM (SELECT s, sum(n)::BIGINT AS flows, count(DISTINCT d) AS peers, sum(unanswered)::BIGINT AS unanswered,
                 sum(out)::BIGINT AS bytes_out, sum(back)::BIGINT AS bytes_in,
                 make_timestamptz(min(first) * 1000) AS first, make_timestamptz(max(last) * 1000) AS last
          FROM contacts GROUP BY s) h
    JOIN addresses a ON a.id = h.s
    LEFT JOIN (SELECT s, {best}, list(struct_pack({fields}) ORDER BY bits DESC, behaviour, daddr, dport) AS activities
               FROM strongest GROUP BY s) b USING (s)
    WHERE a.ours OR b.activities IS NOT NULL
    ORDER BY host
"""


def profile_day(
    flows: Iterable[pa.Table],
    *,
    day: date | None = None,
    home: Sequence[str] = HOME_NETWORKS,
    connect: Callable[[], Any] = connect_sql,
) -> pa.Table:
    """Return what each host did in these flows, one day's or one capture's; see PROFILE.

    Args:
        flows: batches of flow records, in any order; read once.
        day: the day the rows are filed under; that of the first flow when None.
        home: networks that are ours, in prefix notation; others are learned where these explain too little.
        connect: opens the SQL engine, which bounds memory and spills.

    Raises:
        ModelError: there is no flow at all.
    """
    connection = connect()
    try:
        _fold(connection, flows)
        mark_addresses(connection, home)
        connection.execute(_CONTACTS)
        first, last, count = connection.execute("SELECT min(first), max(last), count(*) FROM contacts").fetchone()
        if not count:
            raise ModelError("no flows between hosts: there is nothing to learn from")
        _measure_beats(connection)
        behaviours.measure(connection, span_ms=max(1, last - first))
        return _table(connection, day or date(1970, 1, 1) + timedelta(milliseconds=first))
    finally:
        connection.close()


def _fold(connection: Any, flows: Iterable[pa.Table]) -> None:
    connection.execute(
        "CREATE TABLE parts (s UBIGINT, d UBIGINT, proto VARCHAR, port INTEGER, n BIGINT, unanswered BIGINT,"
        " halves BIGINT, brief BIGINT, out BIGINT, back BIGINT, packets BIGINT, first BIGINT, last BIGINT)"
    )
    connection.execute("CREATE TABLE arrivals (contact UBIGINT, t BIGINT, size UINTEGER)")
    connection.execute("CREATE TABLE addresses (id UBIGINT PRIMARY KEY, address VARCHAR)")
    waiting: list[pa.Table] = []
    rows = 0
    for table in flows:
        waiting.append(_narrow(table))
        rows += table.num_rows
        if rows >= FOLD_ROWS:
            _fold_batch(connection, pa.concat_tables(waiting))
            waiting, rows = [], 0
    if rows:
        _fold_batch(connection, pa.concat_tables(waiting))


def _narrow(table: pa.Table) -> pa.Table:
    """Take the columns that are read, as the types of the flow record; those that are absent are null."""
    names = set(table.column_names)
    columns = [
        table.column(name).cast(FLOW[name].type) if name in names else pa.nulls(table.num_rows, FLOW[name].type)
        for name in flow_schema(list(COLUMNS)).names
    ]
    return pa.table(columns, schema=flow_schema(list(COLUMNS)))


def _fold_batch(connection: Any, batch: pa.Table) -> None:
    connection.register("incoming", batch)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE folded AS {_FOLD}")
    connection.execute(_PARTS)
    connection.execute(
        "INSERT INTO arrivals SELECT hash(s, d, proto, port::INTEGER), t, least(out, 4294967295)::UINTEGER FROM folded"
    )
    connection.execute(
        "INSERT OR IGNORE INTO addresses SELECT hash(a), a FROM"
        " (SELECT DISTINCT saddr AS a FROM incoming UNION SELECT DISTINCT daddr FROM incoming) WHERE a IS NOT NULL"
    )
    connection.execute("DROP TABLE folded")
    connection.unregister("incoming")


def _measure_beats(connection: Any) -> None:
    """Fill table `beats` with the timing of every repeated contact, a bounded number of arrivals at a time."""
    connection.execute(
        "CREATE TABLE beats"
        " (contact UBIGINT, gap_ms DOUBLE, gaps DOUBLE, on_beat DOUBLE, same_size DOUBLE, peak BIGINT)"
    )
    connection.execute(
        f"CREATE TABLE repeated AS SELECT hash(s, d, proto, port) AS contact, n,"
        f" sum(n) OVER (ORDER BY hash(s, d, proto, port)) // {ARRIVALS_AT_ONCE} AS part"
        f" FROM contacts WHERE n >= {MIN_CONTACTS}"
    )
    parts = connection.execute("SELECT DISTINCT part FROM repeated ORDER BY part").fetchall()
    for (part,) in parts:
        # As a relation: the result of execute() loses its order on the way to Arrow.
        rows = connection.sql(
            "SELECT a.contact, a.t, a.size FROM arrivals a JOIN repeated r USING (contact)"
            f" WHERE r.part = {int(part)} ORDER BY ALL"
        ).to_arrow_table()
        connection.register("measured", _beats_of(rows))
        connection.execute("INSERT INTO beats SELECT * FROM measured")
        connection.unregister("measured")
    connection.execute("DROP TABLE arrivals")


def _beats_of(rows: pa.Table) -> pa.Table:
    contact, times, sizes = (rows.column(i).to_numpy() for i in range(3))
    starts = np.flatnonzero(np.r_[True, contact[1:] != contact[:-1]])
    edges = np.r_[starts, contact.size].astype(np.int64)
    measured = beat(edges, times, sizes.astype(np.float64), BURST_MS)
    return pa.table(
        {
            "contact": contact[starts],
            "gap_ms": measured[:, 0],
            "gaps": measured[:, 1],
            "on_beat": measured[:, 2],
            "same_size": measured[:, 3],
            "peak": _peaks(edges, times),
        }
    )


def _peaks(edges: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the most arrivals of each series in one slot of ten minutes."""
    series = np.repeat(np.arange(edges.size - 1), np.diff(edges))
    slot = times // behaviours.PEAK_MS
    fresh = np.flatnonzero(np.r_[True, (series[1:] != series[:-1]) | (slot[1:] != slot[:-1])])
    counts = np.diff(np.r_[fresh, times.size])
    peaks = np.zeros(edges.size - 1, np.int64)
    np.maximum.at(peaks, series[fresh], counts)
    return peaks


def _table(connection: Any, day: date) -> pa.Table:
    best = ", ".join(f"max(bits) FILTER (behaviour = '{name}') AS \"{name}\"" for name in behaviours.NAMES)
    fields = ", ".join(f'"{field.name}" := "{field.name}"' for field in behaviours.ACTIVITY)
    rows = connection.sql(_HOSTS.format(best=best, fields=fields)).to_arrow_table()
    ours, others = connection.execute(
        "SELECT coalesce(count_if(s_ours), 0), coalesce(count_if(NOT s_ours), 0)"
        f" FROM (SELECT s, s_ours FROM contacts GROUP BY s, s_ours HAVING sum(n) >= {LEAST_FLOWS})"
    ).fetchone()
    population = np.where(rows.column("ours").to_numpy(zero_copy_only=False), ours, others)
    columns: dict[str, Any] = {name: rows.column(name) for name in rows.column_names}
    columns["day"] = pa.array([day] * rows.num_rows, pa.date32())
    columns["population"] = pa.array(population.astype(np.int64))
    for name in behaviours.NAMES:
        columns[name] = columns[name].fill_null(0.0)
    return pa.table([columns[field.name].cast(field.type) for field in PROFILE], schema=PROFILE)
