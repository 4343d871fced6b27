"""Attacks planted in the generated traffic: when, from whom, against whom, and their flows."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from tocsin.errors import SettingsError
from tocsin.records.traffic.network import Network
from tocsin.records.traffic.profiles import NUMBER

ATTACKS = ("scan", "portscan", "bruteforce", "beacon", "exfiltration", "lateral")
"""The kinds planted by default."""

KINDS = (*ATTACKS, "ddos")
_QUIET_DAYS, _DAYS_AN_INSTANCE = 2, 2.5
_PROBE, _SPREAD = NUMBER["probe"], ("spread smb", "spread rdp", "spread winrm")
_SCANNED = (445, 3389, 22, 23, 1433, 5900, 8080)


@dataclass(frozen=True)
class PlantedAttack:
    """One instance of an attack: what the label columns say, and what a detector should find.

    attacker: an address, or the first of many (ddos). victims: addresses, at most the first twenty. start, end: UTC;
    the first flow is not before, the last not after. flows: how many there are. id: what `label_detail` says.
    """

    kind: str
    attacker: str
    victims: tuple[str, ...]
    start: datetime
    end: datetime
    flows: int
    id: str


@dataclass(frozen=True)
class AttackFlows:
    """The flows of one instance, by time: (n,) int64 microseconds, int32, int32, int16 and int32 (port)."""

    planted: PlantedAttack
    time: np.ndarray
    source: np.ndarray
    target: np.ndarray
    profile: np.ndarray
    port: np.ndarray


def plan_attacks(
    network: Network,
    start: date,
    days: int,
    *,
    flows_per_day: int,
    attacks: Iterable[str],
    quiet_days: int,
    utc_offset_h: int,
) -> list[AttackFlows]:
    """Return every instance in these days, by beginning. Raises SettingsError for an unknown kind."""
    size = min(1.0, max(0.05, flows_per_day / 100_000))
    quiet = min(quiet_days, max(0, days - 1))
    found = []
    for kind in attacks:
        if kind not in KINDS:
            raise SettingsError(f"unknown attack {kind!r}; there are {', '.join(KINDS)}")
        count = max(1, round((days - quiet) / _DAYS_AN_INSTANCE))
        for index in range(count):
            rng = np.random.default_rng([network.seed, start.toordinal(), zlib.crc32(kind.encode()), index])
            # Instances of a kind share the days after the quiet ones evenly.
            day = quiet + (index + rng.random()) * (days - quiet) / count
            midnight = datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(days=int(day))
            place = _Place(kind, network, rng, midnight, start + timedelta(days=days), size, utc_offset_h, index)
            found.append(_instance(f"{kind}-{index + 1}-{start:%Y%m%d}", place))
    return sorted(found, key=lambda attack: (attack.planted.start, attack.planted.id))


@dataclass(frozen=True)
class _Place:
    """Where an instance lies, and what it may use."""

    kind: str
    network: Network
    rng: np.random.Generator
    midnight: datetime
    until: date
    size: float
    utc_offset_h: int
    index: int

    def at(self, earliest: float, latest: float) -> int:
        """Return a moment between two local hours of the day, in microseconds; it stays within the UTC day."""
        hour = (self.rng.uniform(earliest, latest) - self.utc_offset_h) % 24
        return int(self.midnight.timestamp() * 1e6) + int(hour * 3.6e9)

    def room(self, begin: int, length_s: float) -> int:
        """Return so many seconds in microseconds, or what is left of the generated days."""
        end = int(datetime(self.until.year, self.until.month, self.until.day, tzinfo=UTC).timestamp() * 1e6)
        return min(int(length_s * 1e6), end - begin - 1)

    def one(self, group: str) -> int:
        """Return one of a group: of the people no admin, of the strangers one that no other of the kind has."""
        members = self.network.groups[group]
        if group == "hostile":
            return int(members[(zlib.crc32(self.kind.encode()) + self.index) % len(members)])
        if group == "people":
            members = members[len(self.network.groups["admins"]) :]
        return int(self.rng.choice(members))

    def count(self, least: int, most: int) -> int:
        """Return a number of flows, fewer in little traffic."""
        return max(5, int(self.rng.integers(least, most + 1) * self.size))


def _instance(name: str, place: _Place) -> AttackFlows:
    begin, length, source, target, profile, port = _MAKERS[place.kind](place)
    rows = len(target)
    if place.kind == "beacon":
        period = length / rows
        jitter = place.rng.normal(0.0, place.rng.uniform(0.02, 0.08), rows) * period
        time = np.clip(begin + np.arange(rows) * period + jitter, begin, begin + length).astype(np.int64)
    else:
        time = begin + place.rng.integers(0, length + 1, rows)
    order = np.argsort(time, kind="stable")
    sources = np.broadcast_to(np.asarray(source, np.int32), rows)
    texts = place.network.texts
    _, firsts = np.unique(target, return_index=True)
    planted = PlantedAttack(
        kind=place.kind,
        attacker=texts[int(sources[0])].as_py(),
        victims=tuple(texts[int(target[first])].as_py() for first in np.sort(firsts)[:20]),
        start=datetime.fromtimestamp(begin // 1_000_000, UTC),
        end=datetime.fromtimestamp(-(-(begin + length) // 1_000_000), UTC),
        flows=rows,
        id=name,
    )
    columns = (sources, target.astype(np.int32), np.broadcast_to(profile, rows), np.broadcast_to(port, rows))
    types = (np.int32, np.int32, np.int16, np.int32)
    return AttackFlows(planted, time[order], *(c[order].astype(t) for c, t in zip(columns, types, strict=True)))


_Made = tuple[int, int, "int | np.ndarray", np.ndarray, "int | np.ndarray", "int | np.ndarray"]


def _scan(place: _Place) -> _Made:
    """One port of many addresses of the office; most are nobody's."""
    begin = place.at(0, 24)
    targets = 1 + place.rng.permutation(place.network.inside - 1)[: place.count(900, 2000)]
    port = _SCANNED[place.index % len(_SCANNED)]
    source = place.one("people")
    targets = targets[targets != source]
    return begin, place.room(begin, place.rng.uniform(300, 1800)), source, targets, _PROBE, port


def _portscan(place: _Place) -> _Made:
    """Many ports of one server."""
    begin = place.at(0, 24)
    ports = 1 + place.rng.permutation(10_000)[: place.count(600, 1200)]
    target = np.full(len(ports), place.one("servers"))
    return begin, place.room(begin, place.rng.uniform(120, 900)), place.one("people"), target, _PROBE, ports


def _bruteforce(place: _Place) -> _Made:
    """Many short connections, all alike, to one server; every other instance from the internet."""
    begin = place.at(0, 24)
    outside = place.index % 2 == 0
    target = np.full(place.count(400, 1200), place.one("dmz" if outside else "servers"))
    source = place.one("hostile" if outside else "people")
    profile = NUMBER["guess ssh" if place.rng.random() < 0.6 else "guess rdp"]
    return begin, place.room(begin, place.rng.uniform(600, 3600)), source, target, profile, -1


def _beacon(place: _Place) -> _Made:
    """A call home with a fixed period and little jitter, for many hours."""
    begin = place.at(8, 12)
    period = float(place.rng.choice([60, 120, 300]))
    length = place.room(begin, place.rng.uniform(10, 36) * 3600)
    rows = max(24, int(length / 1e6 / period * min(1.0, place.size * 2)))
    return begin, length, place.one("people"), np.full(rows, place.one("hostile")), NUMBER["beacon"], -1


def _exfiltration(place: _Place) -> _Made:
    """A few very large uploads at night to an address never seen before."""
    begin = place.at(1, 4)
    rows = int(place.rng.integers(3, 9))
    length = place.room(begin, place.rng.uniform(1200, 3600))
    return begin, length, place.one("people"), np.full(rows, place.one("hostile")), NUMBER["upload"], -1


def _lateral(place: _Place) -> _Made:
    """A workstation that tries the shares and desktops of its peers, slowly, over some hours."""
    begin = place.at(9, 13)
    source = place.one("people")
    peers = np.concatenate([place.network.groups["people"], place.network.groups["servers"]])
    peers = place.rng.permutation(peers[peers != source])[: int(place.rng.integers(25, 61))]
    targets = np.repeat(peers, place.rng.integers(1, 4, len(peers)))
    profiles = place.rng.choice([NUMBER[name] for name in _SPREAD], len(targets), p=[0.6, 0.2, 0.2])
    return begin, place.room(begin, place.rng.uniform(4, 8) * 3600), source, targets, profiles, -1


def _ddos(place: _Place) -> _Made:
    """Very many strangers at one public server."""
    begin = place.at(0, 24)
    rows = place.count(4000, 8000)
    sources = place.rng.choice(place.network.groups["clients"], rows)
    target = np.full(rows, place.one("dmz"))
    return begin, place.room(begin, place.rng.uniform(300, 900)), sources, target, NUMBER["flood"], -1


_MAKERS = {
    "scan": _scan,
    "portscan": _portscan,
    "bruteforce": _bruteforce,
    "beacon": _beacon,
    "exfiltration": _exfiltration,
    "lateral": _lateral,
    "ddos": _ddos,
}
