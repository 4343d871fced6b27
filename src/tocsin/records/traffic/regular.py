"""Innocent flows by the clock: time, mail, monitoring, updates, heartbeats, telemetry, and backups at night."""

from dataclasses import dataclass

import numpy as np

from tocsin.records.traffic.network import Network
from tocsin.records.traffic.profiles import NUMBER

DAY_US = 86_400_000_000
MAX_SHARE = 0.3


@dataclass(frozen=True)
class Regular:
    """Pairs that talk with a fixed period.

    source, target: (r,) int32 endpoints. profile: (r,) int16. period_us, phase_us: (r,) int64. jitter: (r,) share of
    the period. hours: (r, 2) local hours between which it is on.
    """

    source: np.ndarray
    target: np.ndarray
    profile: np.ndarray
    period_us: np.ndarray
    phase_us: np.ndarray
    jitter: np.ndarray
    hours: np.ndarray

    @property
    def flows_a_day(self) -> float:
        """How many flows they make in a day."""
        spans = (self.hours[:, 1] - self.hours[:, 0]) / 24
        return float((DAY_US / self.period_us * spans).sum())


def regular_pairs(network: Network, flows_per_day: int) -> Regular:
    """Return the office's regular pairs; periods are stretched where they would be more than 30 % of the flows."""
    group = network.groups
    people, servers, things = group["people"], group["servers"], group["things"]
    everyone = np.concatenate([people, servers, things])
    rng = np.random.default_rng([network.seed, 2])
    watch = servers[servers != group["monitor"][0]]
    parts = [
        _pairs("time", everyone, group["dns"], 1024, 0.01, (0, 24)),
        _pairs("mail poll", people, group["mail"], 300, 0.03, (7, 19)),
        _pairs("check", np.repeat(group["monitor"], len(watch)), watch, 60, 0.005, (0, 24)),
        _pairs("ping", np.repeat(group["monitor"], len(watch)), watch, 60, 0.002, (0, 24)),
        _pairs("counters", np.repeat(group["monitor"], len(things)), things, 300, 0.01, (0, 24)),
        _pairs("update check", people, group["services"][20:24], 5400, 0.15, (7, 19)),
        _pairs("heartbeat", things, group["clouds"], 120, 0.01, (0, 24)),
        _pairs("telemetry", people[::3], group["telemetry"], 900, 0.05, (8, 18)),
        _pairs("backup", watch, group["backup"], 1200, 0.1, (1, 4)),
    ]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    keep = columns[0] != columns[1]  # nobody asks itself
    source, target, profile, period_s, jitter, start, end = (column[keep] for column in columns)
    hours = np.stack([start, end], axis=1).astype(np.int64)
    phase = rng.random(len(source))
    spans = (hours[:, 1] - hours[:, 0]) / 24
    stretch = max(1.0, float((86_400 / period_s * spans).sum()) / (MAX_SHARE * flows_per_day))
    period_us = (period_s * stretch * 1e6).astype(np.int64)
    phase_us = (phase * period_us).astype(np.int64)
    return Regular(source, target, profile.astype(np.int16), period_us, phase_us, jitter, hours)


def _pairs(
    name: str, source: np.ndarray, targets: np.ndarray, period_s: int, jitter: float, hours: tuple[int, int]
) -> tuple[np.ndarray, ...]:
    count = len(source)
    target = targets if len(targets) == count and count > 1 else targets[np.arange(count) % len(targets)]
    numbers = [np.full(count, value) for value in (NUMBER[name], float(period_s), jitter, *hours)]
    return (source.astype(np.int32), target.astype(np.int32), *numbers)


def regular_flows(
    regular: Regular, rng: np.random.Generator, start_us: int, length_us: int, local_hour: int, *, weekend: bool
) -> tuple[np.ndarray, ...]:
    """Return time, source, target and profile of the regular flows in a slice within one local hour.

    Beats are counted from 1970, so slices and days fit together without knowing of each other.
    """
    person = (regular.hours[:, 1] - regular.hours[:, 0] < 24) & (regular.hours[:, 0] > 6)
    on = (regular.hours[:, 0] <= local_hour) & (local_hour < regular.hours[:, 1]) & ~(person & weekend)
    period, phase = regular.period_us[on], regular.phase_us[on]
    first = -((phase - start_us) // period)  # the first beat at or after the start
    beats = np.maximum(-((phase - start_us - length_us) // period) - first, 0)
    row = np.repeat(np.arange(len(beats)), beats)
    beat = np.arange(len(row)) - np.repeat(np.cumsum(beats) - beats, beats) + first[row]
    shift = rng.normal(0.0, 1.0, len(row)) * regular.jitter[on][row] * period[row]
    time = np.clip(phase[row] + beat * period[row] + shift.astype(np.int64), start_us, start_us + length_us - 1)
    return time, regular.source[on][row], regular.target[on][row], regular.profile[on][row]
