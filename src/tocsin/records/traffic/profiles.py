"""What the office does all day: the kinds of flows, how big they are, who makes them, and when.

Sizes are log-normal, popularity of services is heavy-tailed, and each kind has a daily and weekly rhythm. Part of the
traffic is strictly regular (time, mail, monitoring, updates, heartbeats, backups): innocent, and like a beacon.
"""

import math
from dataclasses import dataclass

import numpy as np

EVEN, SKEWED, TAILED, FAVOURITES, STICKY = range(5)
_OFFICE = [2, 1, 1, 1, 2, 4, 15, 50, 110, 130, 125, 115, 80, 110, 125, 120, 110, 85, 45, 25, 18, 14, 9, 5]
_FLAT = [100] * 24
_PUBLIC = [40, 30, 22, 20, 20, 25, 40, 65, 90, 110, 120, 125, 130, 130, 125, 120, 120, 125, 130, 140, 145, 130, 95, 60]
RHYTHMS = {"office": (_OFFICE, 0.06), "flat": (_FLAT, 1.0), "public": (_PUBLIC, 0.8)}
"""Weight of each local hour on a workday, and how much of it there is on a day of the weekend."""


@dataclass(frozen=True)
class Profile:
    """One kind of flow.

    up, down: median payload bytes and log-deviation. seconds: median and log-deviation of what is not transfer.
    fails: share without an answer. rate: bytes a second. entropy: of both payloads, 0 to 255.
    software: 0 no fingerprint, 1 the host's own, above that one program's.
    source, target: groups and how one is picked. share: of a workday's flows, 0 for what is placed otherwise.
    """

    name: str
    proto: str
    port: int
    service: str | None
    up: tuple[float, float]
    down: tuple[float, float]
    seconds: tuple[float, float]
    fails: float = 0.004
    rate: float = 5e6
    entropy: tuple[float, float] = (150.0, 150.0)
    software: int = 0
    source: tuple[str, int] = ("people", SKEWED)
    target: tuple[str, int] = ("services", FAVOURITES)
    share: float = 0.0
    rhythm: str = "office"


_CLEAR, _SEALED, _TEXT = (140.0, 150.0), (238.0, 246.0), (165.0, 190.0)
_UPDATER, _AGENT, _THING, _BEACON = 13, 14, 15, 16
_ANSWERS = ("dns", STICKY)

PROFILES = (
    Profile("lookup", "udp", 53, "dns", (42, 0.2), (130, 0.5), (0.002, 0.8), 0.01, 1e8, _CLEAR, 0,
            target=_ANSWERS, share=26),
    Profile("web", "tcp", 443, "ssl", (2200, 1.0), (15_000, 1.7), (4, 1.6), 0.012, 6e6, _SEALED, 1, share=27),
    Profile("quic", "udp", 443, "quic", (4000, 1.0), (30_000, 1.6), (12, 1.3), 0.01, 8e6, _SEALED, 1, share=8),
    Profile("plain web", "tcp", 80, "http", (600, 0.8), (6000, 1.7), (0.6, 1.4), 0.02, 6e6, _TEXT, share=3),
    Profile("files", "tcp", 445, "smb", (9000, 1.6), (40_000, 2.2), (30, 1.6), 0.003, 4e7, _TEXT,
            target=("file", 0), share=4),
    Profile("intranet", "tcp", 443, "ssl", (1800, 0.8), (20_000, 1.4), (3, 1.2), 0.002, 4e7, _SEALED, 1,
            target=("web", 0), share=6),
    Profile("tickets", "tcp", 88, "krb_tcp", (1500, 0.15), (1600, 0.15), (0.004, 0.6), 0.002, 4e7, _TEXT,
            target=_ANSWERS, share=2),
    Profile("directory", "tcp", 389, "ldap", (900, 0.6), (3500, 0.9), (0.1, 1.5), 0.002, 4e7, _CLEAR,
            target=_ANSWERS, share=2),
    Profile("printing", "tcp", 9100, None, (90_000, 1.4), (300, 0.4), (6, 0.8), 0.03, 2e6, _CLEAR,
            target=("things", STICKY), share=0.3),
    Profile("shell", "tcp", 22, "ssh", (7000, 1.2), (14_000, 1.5), (240, 1.6), 0.01, 2e7, _SEALED,
            source=("admins", 0), target=("servers", 0), share=0.25),
    Profile("desktop", "tcp", 3389, "rdp", (90_000, 1.3), (900_000, 1.4), (600, 1.2), 0.01, 1e7, _SEALED,
            source=("admins", 0), target=("servers", 0), share=0.1),
    Profile("queries", "tcp", 5432, "postgresql", (1200, 1.1), (9000, 1.8), (0.05, 1.4), 0.0005, 6e7, _TEXT,
            source=("web", 0), target=("db", 0), share=4, rhythm="public"),
    Profile("apps", "tcp", 5432, "postgresql", (900, 1.0), (6000, 1.6), (0.04, 1.3), 0.0005, 6e7, _TEXT,
            source=("apps", 0), target=("db", 0), share=3, rhythm="flat"),
    Profile("recursion", "udp", 53, "dns", (48, 0.25), (180, 0.6), (0.03, 0.9), 0.02, 1e8, _CLEAR,
            source=("dns", 0), target=("resolvers", TAILED), share=6, rhythm="public"),
    Profile("mail out", "tcp", 25, "smtp", (18_000, 1.8), (700, 0.3), (2, 1.0), 0.03, 5e6, _TEXT,
            source=("mail", 0), target=("services", TAILED), share=0.3),
    Profile("mail in", "tcp", 25, "smtp", (22_000, 1.8), (700, 0.3), (2, 1.1), 0.01, 5e6, _TEXT,
            source=("clients", TAILED), target=("mail", 0), share=0.5, rhythm="public"),
    Profile("visitors", "tcp", 443, "ssl", (1500, 0.9), (24_000, 1.5), (5, 1.4), 0.01, 3e6, _SEALED, 1,
            source=("clients", TAILED), target=("dmz", 0), share=5, rhythm="public"),
    Profile("things' cloud", "tcp", 8883, "ssl", (700, 0.4), (500, 0.4), (60, 1.0), 0.005, 1e6, _SEALED, _THING,
            source=("things", 0), target=("clouds", STICKY), share=0.5, rhythm="flat"),
    Profile("servers' web", "tcp", 443, "ssl", (1200, 0.7), (9000, 1.5), (1, 1.0), 0.005, 2e7, _SEALED, _AGENT,
            source=("servers", 0), target=("services", FAVOURITES), share=0.6, rhythm="flat"),
    Profile("noise", "tcp", 23, None, (1, 0.1), (1, 0.1), (0.01, 1), 0.999, 1e6, _CLEAR,
            source=("scanners", TAILED), target=("dmz", 0), share=0.35, rhythm="flat"),
    Profile("noise web", "tcp", 8080, None, (1, 0.1), (1, 0.1), (0.01, 1), 0.999, 1e6, _CLEAR,
            source=("scanners", TAILED), target=("dmz", 0), share=0.3, rhythm="flat"),
    # Placed by their clock (regular.py).
    Profile("time", "udp", 123, "ntp", (48, 0), (48, 0), (0.001, 0.3), 0.003, 1e8, _CLEAR),
    Profile("mail poll", "tcp", 993, "ssl", (1100, 0.1), (3500, 0.7), (0.4, 0.4), 0.001, 4e7, _SEALED, _AGENT),
    Profile("check", "tcp", 443, "ssl", (520, 0.02), (4100, 0.02), (0.02, 0.3), 0.0005, 4e7, _SEALED, _AGENT),
    Profile("ping", "icmp", 0, None, (56, 0), (56, 0), (0.0005, 0.2), 0.001, 1e8, (90.0, 90.0)),
    Profile("counters", "udp", 161, "snmp", (90, 0.1), (150, 0.2), (0.003, 0.4), 0.004, 1e8, _CLEAR),
    Profile("update check", "tcp", 443, "ssl", (900, 0.05), (5200, 0.3), (0.5, 0.5), 0.004, 8e6, _SEALED, _UPDATER),
    Profile("heartbeat", "tcp", 8883, "ssl", (310, 0.01), (120, 0.01), (0.2, 0.2), 0.003, 1e6, _SEALED, _THING),
    Profile("telemetry", "tcp", 443, "ssl", (1400, 0.08), (420, 0.03), (0.3, 0.3), 0.004, 8e6, _SEALED, _UPDATER),
    Profile("backup", "tcp", 10_051, None, (1.5e9, 0.7), (200_000, 0.4), (20, 0.5), 0.001, 6e7, _SEALED),
    # What attacks are made of (attacks.py).
    Profile("probe", "tcp", 0, None, (1, 0.1), (30, 0.5), (0.05, 0.5), 0.96, 1e6, _CLEAR),
    Profile("guess ssh", "tcp", 22, "ssh", (1900, 0.05), (2400, 0.04), (2.2, 0.15), 0.01, 1e7, _SEALED),
    Profile("guess rdp", "tcp", 3389, "rdp", (1500, 0.04), (1700, 0.04), (1.3, 0.15), 0.01, 1e7, _SEALED),
    Profile("beacon", "tcp", 443, "ssl", (420, 0.03), (280, 0.03), (0.3, 0.15), 0.005, 4e6, _SEALED, _BEACON),
    Profile("upload", "tcp", 443, "ssl", (1.2e9, 0.4), (900_000, 0.3), (10, 0.4), 0.0, 8e6, _SEALED, _BEACON),
    Profile("spread smb", "tcp", 445, "smb", (5000, 0.8), (3000, 0.8), (1.5, 0.8), 0.2, 3e7, _TEXT),
    Profile("spread rdp", "tcp", 3389, "rdp", (30_000, 0.9), (60_000, 0.9), (40, 0.8), 0.25, 1e7, _SEALED),
    Profile("spread winrm", "tcp", 5985, "http", (6000, 0.6), (4000, 0.6), (2, 0.6), 0.25, 3e7, _TEXT),
    Profile("flood", "tcp", 443, None, (200, 0.3), (100, 0.5), (0.5, 0.6), 0.85, 1e6, _CLEAR),
)  # fmt: skip

NUMBER = {profile.name: index for index, profile in enumerate(PROFILES)}
PROTOCOL_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


def shapes() -> np.ndarray:
    """Return what `shape_flows` takes of each profile: (p, 10) float64."""
    return np.array([(*_log(p.up), *_log(p.down), *_log(p.seconds), p.fails, p.rate, *p.entropy) for p in PROFILES])


def _log(size: tuple[float, float]) -> tuple[float, float]:
    return math.log(size[0]), size[1]


def kinds() -> np.ndarray:
    """Return protocol number, port and client software of each profile: (p, 3) int64."""
    return np.array([(PROTOCOL_NUMBERS[p.proto], p.port, p.software) for p in PROFILES], np.int64)


def groups(members: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what `draw_flows` takes: (p, 6) int64, and the members of all groups in one array: (m,) int32."""
    first, at = {}, 0
    for name, numbers in members.items():
        first[name] = (at, len(numbers))
        at += len(numbers)
    table = [(*first[p.source[0]], p.source[1], *first[p.target[0]], p.target[1]) for p in PROFILES]
    return np.array(table, np.int64), np.concatenate(list(members.values())).astype(np.int32)


def expected(flows: float, weekday: int, hours: np.ndarray) -> np.ndarray:
    """Return the expected flows of each profile in each of these local hours: (p, h), of `flows` on a workday."""
    shares = np.array([profile.share for profile in PROFILES])
    weights = np.empty((len(PROFILES), len(hours)))
    for row, profile in enumerate(PROFILES):
        curve, weekend = RHYTHMS[profile.rhythm]
        weights[row] = np.array(curve)[hours] / sum(curve) * (weekend if weekday >= 5 else 1.0)
    mean: np.ndarray = flows * (shares / shares.sum())[:, None] * weights
    return mean
