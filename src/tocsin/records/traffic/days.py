"""Days of generated traffic, streamed in tables: the same seed gives the same flows, whatever the block size.

A day is cut into slices within hours. What is benign in a slice depends on the seed, the number of hosts and of flows,
the date and the slice alone; attacks are added to it and change nothing else.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain

import numpy as np
import pyarrow as pa

from tocsin.errors import SettingsError
from tocsin.kernels.traffic import draw_flows
from tocsin.records.traffic.attacks import ATTACKS, AttackFlows, PlantedAttack, plan_attacks
from tocsin.records.traffic.network import Network
from tocsin.records.traffic.profiles import expected, groups
from tocsin.records.traffic.regular import Regular, regular_flows, regular_pairs
from tocsin.records.traffic.table import Draft, Texts, build_table

FLOWS_PER_DAY, HOSTS, BLOCK_ROWS, QUIET_DAYS = 200_000, 150, 250_000, 2
_HOUR_US = 3_600_000_000
_FLOWS_A_SLICE = 100_000
_MAX_FLOWS = 1_000_000_000


def planted(
    start: date,
    days: int,
    *,
    flows_per_day: int = FLOWS_PER_DAY,
    hosts: int = HOSTS,
    seed: int = 0,
    attacks: Iterable[str] = ATTACKS,
    quiet_days: int = QUIET_DAYS,
    utc_offset_h: int = 0,
) -> list[PlantedAttack]:
    """Return the attacks that `generate_days` plants with the same arguments, by beginning.

    quiet_days: so many first days have none, fewer where there are not more days. Raises SettingsError.
    """
    _check(days, flows_per_day, seed)
    plan = plan_attacks(
        Network(hosts, seed),
        start,
        days,
        flows_per_day=flows_per_day,
        attacks=attacks,
        quiet_days=quiet_days,
        utc_offset_h=utc_offset_h,
    )
    return [attack.planted for attack in plan]


def generate_days(
    start: date,
    days: int,
    *,
    flows_per_day: int = FLOWS_PER_DAY,
    hosts: int = HOSTS,
    seed: int = 0,
    attacks: Iterable[str] = ATTACKS,
    quiet_days: int = QUIET_DAYS,
    utc_offset_h: int = 0,
    block_rows: int = BLOCK_ROWS,
    workers: int = 2,
) -> Iterator[tuple[date, pa.Table]]:
    """Yield each day's flows in tables of at most `block_rows` rows, by time, after `table.SCHEMA`.

    flows_per_day: about so many on a workday, fewer at the weekend, attacks not counted. hosts: in the office.
    attacks: kinds to plant. utc_offset_h: the office's local time. workers: threads; the flows do not depend on them.
    Raises SettingsError for arguments out of range.
    """
    _check(days, flows_per_day, seed)
    network = Network(hosts, seed)
    plan = plan_attacks(
        network,
        start,
        days,
        flows_per_day=flows_per_day,
        attacks=attacks,
        quiet_days=quiet_days,
        utc_offset_h=utc_offset_h,
    )
    office = _Office(network, flows_per_day, utc_offset_h, regular_pairs(network, flows_per_day), tuple(plan))
    network.addresses, network.texts, network.groups  # noqa: B018 - made here, once, and then shared by the threads
    with ThreadPoolExecutor(workers) as pool:
        for index in range(days):
            day = start + timedelta(days=index)
            for table in _blocks(_in_order(pool, office, day, workers), block_rows):
                yield day, table


def _check(days: int, flows_per_day: int, seed: int) -> None:
    if days < 1:
        raise SettingsError(f"{days} days: at least one can be generated")
    if not 100 <= flows_per_day <= _MAX_FLOWS:
        raise SettingsError(f"{flows_per_day} flows a day: 100 to {_MAX_FLOWS} can be generated")
    if seed < 0:
        raise SettingsError(f"seed {seed}: must not be negative")


@dataclass(frozen=True)
class _Office:
    """All that a slice of any day is made from."""

    network: Network
    flows_per_day: int
    utc_offset_h: int
    regular: Regular
    plan: tuple[AttackFlows, ...]

    @property
    def slices_an_hour(self) -> int:
        """How many slices an hour has; the busiest hour has an eighth of a day's flows."""
        return max(1, self.flows_per_day // 8 // _FLOWS_A_SLICE)

    def slice(self, day: date, index: int) -> pa.Table:
        """Return the flows of one slice of a day, by time."""
        length_us = _HOUR_US // self.slices_an_hour
        midnight_us = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
        hour, part = divmod(index, self.slices_an_hour)
        start_us = midnight_us + hour * _HOUR_US + part * length_us
        local = datetime.fromtimestamp(start_us / 1e6, UTC) + timedelta(hours=self.utc_offset_h)
        name = f"{self.network.seed} {day.isoformat()} {index}"
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        rng = np.random.default_rng(key)
        weekend = local.weekday() >= 5
        # Regular flows first, random ones, attacks last: what is benign keeps its numbers when attacks come and go.
        parts = [
            regular_flows(self.regular, rng, start_us, length_us, local.hour, weekend=weekend),
            self._random(rng, key, start_us, length_us, local),
        ]
        draft = self._join(parts, start_us, start_us + length_us)
        texts = Texts(self.network, tuple((attack.planted.kind, attack.planted.id) for attack in self.plan))
        return build_table(draft, texts, key=key, number=day.toordinal() << 16 | index)

    def _random(
        self, rng: np.random.Generator, key: int, start_us: int, length_us: int, local: datetime
    ) -> tuple[np.ndarray, ...]:
        flows = self.flows_per_day - min(self.regular.flows_a_day, 0.5 * self.flows_per_day)
        mean = expected(flows, local.weekday(), np.array([local.hour]))[:, 0] / self.slices_an_hour
        counts = rng.poisson(mean)
        table, members = groups(self.network.groups)
        rows = int(counts.sum())
        out = (np.empty(rows, np.int64), np.empty(rows, np.int32), np.empty(rows, np.int32), np.empty(rows, np.int16))
        with np.errstate(over="ignore"):  # random streams are modulo 2**64
            draw_flows(np.uint64(key), counts, table, members, start_us, length_us, *out)
        return out

    def _join(self, parts: list[tuple[np.ndarray, ...]], start_us: int, end_us: int) -> Draft:
        benign = sum(len(part[0]) for part in parts)
        ports = [np.full(benign, -1, np.int32)]
        marks = [np.full(benign, -1, np.int32)]
        for number, attack in enumerate(self.plan):
            first, last = np.searchsorted(attack.time, (start_us, end_us))
            if first < last:
                cut = slice(first, last)
                parts.append((attack.time[cut], attack.source[cut], attack.target[cut], attack.profile[cut]))
                ports.append(attack.port[cut])
                marks.append(np.full(last - first, number, np.int32))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return Draft(order, *(column[order] for column in (*columns, np.concatenate(ports), np.concatenate(marks))))


def _in_order(pool: ThreadPoolExecutor, office: _Office, day: date, workers: int) -> Iterator[pa.Table]:
    """Make a day's slices side by side and yield them in order; few are ever waiting."""
    waiting: deque[Future[pa.Table]] = deque()
    for index in range(24 * office.slices_an_hour):
        waiting.append(pool.submit(office.slice, day, index))
        if len(waiting) > workers + 1:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _blocks(tables: Iterator[pa.Table], block_rows: int) -> Iterator[pa.Table]:
    """Cut and join tables so that each but the last has `block_rows` rows."""
    held: list[pa.Table] = []
    rows = 0
    for table in chain(tables, [None]):
        if table is not None:
            held.append(table)
            rows += table.num_rows
        while rows >= block_rows or (table is None and rows):
            joined = pa.concat_tables(held)
            yield joined.slice(0, block_rows)
            rows = max(0, rows - block_rows)
            held = [joined.slice(block_rows)] if rows else []
