r"""SQL for what presets ask of records, whatever sensor wrote them; a column that a sensor does not write is NULL.

What a sensor says of a TCP connection, in the order in which it is believed: Zeek's history (`S` SYN, `h` SYN-ACK,
`d` data, `f` FIN, `r` RST; upper case from the originator), Argus' flags of both sides (`S_RA`), Zeek's state without
a history, the flags of all packets together (Suricata, captures, NetFlow), and at last the packet counts.
"""

from typing import Final

_HOME: Final = (
    "^(::ffff:)?(10|127|192[.]168|169[.]254|172[.](1[6-9]|2[0-9]|3[01])|100[.](6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7]))[.]"
    "|^f[cd][0-9a-f]{2}:|^fe[89ab][0-9a-f]:|^::1?$"
)
"""Private, shared, link-local and loopback addresses of IPv4 and IPv6 (RFC 1918, 6598, 3927, 4193, 4291)."""

_NOBODY: Final = "^(::ffff:)?(0|22[4-9]|23[0-9]|24[0-9]|25[0-5])[.]|^ff[0-9a-f]{2}:"
"""Multicast, broadcast and reserved addresses."""


def home(address: str, says_sensor: str = "NULL") -> str:
    """Return SQL that holds for our own addresses: as the sensor says where it says, else the private ranges."""
    return f"coalesce(try_cast({says_sensor} AS BOOLEAN), regexp_matches(lower({address}), '{_HOME}'))"


def outside(address: str, says_sensor: str = "NULL") -> str:
    """Return SQL that holds for single hosts elsewhere."""
    return f"(NOT {home(address, says_sensor)} AND NOT regexp_matches(lower({address}), '{_NOBODY}'))"


OUTBOUND: Final = f"{home('saddr', 'local_orig')} AND {outside('daddr', 'local_resp')}"
INBOUND: Final = f"{outside('saddr', 'local_orig')} AND {home('daddr', 'local_resp')}"

_ARGUS: Final = "regexp_matches(conn_state, '^[FSRPAEUC]*_[FSRPAEUC]*$')"

REVERSED: Final = (
    "(CASE WHEN history IS NOT NULL THEN history LIKE '%H%' AND history NOT LIKE '%S%'"
    " WHEN iflags IS NOT NULL THEN iflags LIKE '%S%' AND iflags LIKE '%A%'"
    " ELSE coalesce(uflags, '') IN ('SA', 'AS') AND spkts = 1 AND dpkts = 0 END)"
)
"""Its first packet is a SYN-ACK: the responder stands where the originator should."""

CALLER: Final = f"CASE WHEN {REVERSED} THEN daddr ELSE saddr END"
CALLED: Final = f"CASE WHEN {REVERSED} THEN saddr ELSE daddr END"
CALLED_PORT: Final = f"CASE WHEN {REVERSED} THEN sport ELSE dport END"

HALF_OPEN: Final = (
    "proto = 'tcp' AND (CASE"
    " WHEN history IS NOT NULL THEN regexp_matches(history, '^[SC]+[hc]?$')"
    f" WHEN {_ARGUS} THEN regexp_matches(conn_state, '^[SEC]+_[SAEC]*$')"
    " WHEN conn_state = 'S0' THEN true"
    " WHEN uflags <> '' THEN regexp_matches(uflags, '^[SEC]+$')"
    " OR regexp_matches(uflags, '^[SAEC]+$') AND spkts = 1 AND dpkts > 0"
    " ELSE dpkts = 0 AND spkts <= 7 AND coalesce(sbytes, 0) <= 100 * spkts END)"
)
"""The originator sent a SYN and no more, so that the responder, if it answered, waits."""

FAILED: Final = (
    "proto = 'tcp' AND (CASE"
    " WHEN history IS NOT NULL THEN regexp_matches(history, '[SH]') AND NOT regexp_matches(history, '[dDfF]')"
    " AND (regexp_matches(history, '[rR]') OR regexp_matches(history, '^[SC]+[hc]?$'))"
    f" WHEN {_ARGUS} THEN regexp_matches(conn_state, '^[SREC]*S[SREC]*_[SRAEC]*$')"
    " OR regexp_matches(conn_state, '^[SRAEC]*S[SRAEC]*_[SRAEC]*$') AND conn_state LIKE '%R%'"
    " WHEN conn_state IN ('S0', 'REJ', 'RSTOS0', 'RSTRH') THEN true"
    " WHEN conn_state IN ('RSTO', 'RSTR') THEN orig_bytes = 0 AND resp_bytes = 0"
    " WHEN conn_state IN ('SF', 'S1', 'S2', 'S3', 'SH', 'SHR', 'OTH') THEN false"
    " WHEN uflags <> '' THEN regexp_matches(uflags, '^[SRAECU]*S[SRAECU]*$')"
    " AND (uflags LIKE '%R%' OR uflags NOT LIKE '%A%' OR spkts = 1 AND dpkts > 0)"
    " ELSE dpkts = 0 AND spkts <= 7 AND coalesce(sbytes, 0) <= 100 * spkts END)"
)
"""A TCP connection that came to nothing: unanswered, rejected, or reset before any payload."""

SERVED: Final = (
    "(CASE WHEN proto = 'udp' THEN dpkts > 0 AND (dport < 1024 OR dport IN (1194, 3478, 4500, 5060, 11211, 51820))"
    " WHEN proto <> 'tcp' THEN false"
    " WHEN history IS NOT NULL THEN history LIKE '%S%' AND history LIKE '%h%' AND history LIKE '%d%'"
    f" WHEN {_ARGUS} THEN regexp_matches(conn_state, '^.?S.*_.?S.*P')"
    " WHEN resp_bytes IS NOT NULL THEN resp_bytes > 0 AND conn_state <> 'OTH'"
    " WHEN uflags <> '' THEN uflags LIKE '%S%' AND uflags LIKE '%A%' AND (uflags LIKE '%P%' AND dpkts > 1 OR dpkts > 4)"
    " ELSE dpkts > 4 END)"
)
"""The responder answered with a payload. UDP only at well-known ports: elsewhere nobody can tell who serves whom."""

_SECOND_LEVEL: Final = "ac|co|com|edu|gob|gov|go|mil|ne|net|nom|or|org"
DOMAIN: Final = rf"regexp_extract(lower(query), '([^.]+[.](?:(?:{_SECOND_LEVEL})[.][a-z]{{2}}|[^.]+))[.]?$', 1)"
"""The registered domain of a DNS query, near enough: two labels, three below the likes of co.uk."""

BELOW: Final = f"(length(rtrim(query, '.')) - length({DOMAIN}) - 1)"
"""How many characters of a query stand before its registered domain."""

LABELLED: Final = (
    "^(akadns|akamai|akamaiedge|akamaized|akamaihd|edgekey|edgesuite|akstat|amazonaws|cloudfront|awsglobalaccelerator"
    "|azure|azureedge|azurefd|trafficmanager|windows|cloudapp|msedge|office|office365|fastly|fastlylb|cloudflare"
    "|google|googleapis|googlevideo|googleusercontent|googlesyndication|doubleclick|gstatic|gvt1|gvt2|1e100"
    "|sophosxl|sophos|mcafee|trendmicro|avast|avira|kaspersky|eset|webroot|symantec|spamhaus|sorbs|surbl|uribl"
    "|barracudacentral|senderbase|dotnxdomain|in-addr|ip6)[.]"
)
"""Domains that put hashes, numbers or other names into their own names: delivery networks, clouds, advertisements,
scanners and blocklists that are asked by DNS, reverse look-ups."""
