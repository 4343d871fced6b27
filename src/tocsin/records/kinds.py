"""Kinds of records: their names, when a record of one counts, and whom it is about."""

import re

KIND = re.compile(r"flow|event|(zeek|eve)\.[A-Za-z0-9_-]+")

_TIMES = {
    "flow": "coalesce(etime, stime)",
    "zeek.conn": "ts + to_microseconds(CAST(coalesce(duration, 0) * 1e6 AS BIGINT))",
    "eve": "timestamp",
}
_HOSTS = {"flow": "saddr", "zeek": "id.orig_h", "eve": "src_ip"}


def time_of(kind: str) -> str:
    """Return the SQL of when a record counts. A flow counts when it ended, as that is when it is logged."""
    return _TIMES.get(kind) or _TIMES.get(kind.partition(".")[0], "ts")


def host_of(kind: str) -> str:
    """Return the column of the host that a record is about, '' where records of the kind have none of their own."""
    return _HOSTS.get(kind.partition(".")[0], "")
