"""Which addresses are ours: the networks that are set, and those that the traffic itself turns around."""

import ipaddress
from collections.abc import Sequence
from typing import Any

from tocsin.errors import SettingsError

HOME_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")

MIN_EXPLAINED = 0.8
"""Share of contacts with one side in our networks from which no further network is looked for."""

MIN_GAIN = 0.1
MAX_LEARNED = 8

_V4 = (
    "(split_part(address, '.', 1)::UBIGINT << 24) + (split_part(address, '.', 2)::UBIGINT << 16)"
    " + (split_part(address, '.', 3)::UBIGINT << 8) + split_part(address, '.', 4)::UBIGINT"
)
_IS_V4 = "regexp_full_match(address, '[0-9]{1,3}(\\.[0-9]{1,3}){3}')"

# Multicast, broadcast, unspecified and loopback are nobody's behaviour; a network's own broadcast is told by its end.
_SPECIAL_V4 = "v4 >= 3758096384 OR v4 >> 24 IN (0, 127) OR (v4 & 255) = 255"


def mark_addresses(connection: Any, home: Sequence[str]) -> None:
    """Add to table `addresses` (id, address): ours, special (no host), net (/24 or /48), wide (/16 or /48).

    Raises SettingsError when one of `home` is no network.
    """
    connection.execute("ALTER TABLE addresses RENAME TO seen")
    connection.execute(f"CREATE TABLE four AS SELECT id, {_V4} AS v4 FROM seen WHERE {_IS_V4}")
    _mark_others(connection)
    connection.execute(
        "CREATE TABLE addresses AS SELECT seen.id, seen.address, false AS ours,"
        f" coalesce({_SPECIAL_V4}, six.special, false) AS special, four.v4 AS v4,"
        " coalesce((v4 >> 8)::VARCHAR, six.net, address) AS net,"
        " coalesce((v4 >> 16)::VARCHAR, six.net, address) AS wide"
        " FROM seen LEFT JOIN four USING (id) LEFT JOIN six USING (id)"
    )
    for text in home:
        _claim(connection, text)
    _learn(connection)
    connection.execute("DROP TABLE seen; DROP TABLE four; DROP TABLE six")


def _mark_others(connection: Any) -> None:
    """Make table `six` of the addresses that are not IPv4: read one by one, they are few."""
    rows = connection.execute("SELECT id, address FROM seen WHERE id NOT IN (SELECT id FROM four)").fetchall()
    connection.execute("CREATE TABLE six (id UBIGINT, net VARCHAR, special BOOLEAN, high UBIGINT)")
    for start in range(0, len(rows), 10_000):
        marked = [(key, *_read_six(text)) for key, text in rows[start : start + 10_000]]
        connection.executemany("INSERT INTO six VALUES (?, ?, ?, ?)", marked)


def _read_six(text: str) -> tuple[str, bool, int]:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text, False, 0
    high = int(address) >> 64 if address.version == 6 else 0
    return f"{high >> 16:x}", address.is_multicast or address.is_unspecified or address.is_loopback, high


def _claim(connection: Any, text: str) -> None:
    """Mark the addresses of one network as ours."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise SettingsError(
            f"home network {text!r}: must be an address with a prefix length, such as 10.0.0.0/8"
        ) from error
    low, high = int(network.network_address), int(network.broadcast_address)
    if network.version == 4:
        connection.execute("UPDATE addresses SET ours = true WHERE v4 BETWEEN ? AND ?", [low, high])
    else:
        connection.execute(
            "UPDATE addresses SET ours = true WHERE id IN (SELECT id FROM six WHERE high BETWEEN ? AND ?)",
            [low >> 64, high >> 64],
        )


def _learn(connection: Any) -> None:
    """Take further networks for ours, largest first, until nearly every contact has a side that is ours.

    A sensor sees the traffic of its own network: one side of each contact lies there, while the other sides are spread.
    Contacts are counted once however many flows they had, so that one flood does not decide.
    """
    connection.execute(
        "CREATE TABLE sides AS SELECT a.wide AS a, b.wide AS b, count(*) AS n, bool_or(a.ours OR b.ours) AS explained"
        " FROM (SELECT DISTINCT s, d FROM parts) JOIN addresses a ON a.id = s JOIN addresses b ON b.id = d"
        " WHERE NOT a.special AND NOT b.special GROUP BY a.wide, b.wide"
    )
    for _ in range(MAX_LEARNED):
        total, explained = connection.execute("SELECT sum(n), sum(n) FILTER (explained) FROM sides").fetchone()
        if not total or (explained or 0) >= MIN_EXPLAINED * total:
            break
        wide, gain = connection.execute(
            "SELECT side, sum(n) FROM (SELECT a AS side, n FROM sides WHERE NOT explained"
            " UNION ALL SELECT b, n FROM sides WHERE NOT explained AND a <> b) GROUP BY side ORDER BY 2 DESC, 1 LIMIT 1"
        ).fetchone()
        if gain < MIN_GAIN * total:
            break
        connection.execute("UPDATE addresses SET ours = true WHERE wide = ?", [wide])
        connection.execute("UPDATE sides SET explained = true WHERE a = ? OR b = ?", [wide, wide])
    connection.execute("DROP TABLE sides")
