"""Which host behaves unlike the others and unlike itself, and why."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa

from tocsin.detector import BatchDetector, Scored, State
from tocsin.detectors.outlier.behaviours import BY_NAME, NAMES
from tocsin.detectors.outlier.host_findings import HOSTS, candidates, evidence, host_table
from tocsin.detectors.outlier.population import Population, host_score
from tocsin.errors import ModelError

__all__ = ["HOSTS", "HostDetector", "candidates", "evidence", "host_score", "host_table"]

OTHERS_SHARE = 0.2
"""What a host's second and third most unusual behaviour add to its score, of their own bits."""

OUTSIDE_SHARE = 0.4
"""What the same behaviour counts for a host that is not ours: the internet scans everybody every day."""

UNKNOWN_SHARE = 0.7
"""What moving much counts in the rank of a host that no other day is known of."""

MOVES_MUCH = ("exfiltration", "lateral-movement")
"""Behaviours that are everyday for some hosts, and cannot be told from an attack in a single day."""

ORDINARY = 99.0
"""Behaviours that scored higher are no example for later days."""

MIN_REASON_BITS = 3.0
MAX_BITS = 200.0


class HostDetector(BatchDetector):
    """Scores hosts by the most unusual thing each did in a day.

    It finds: hosts that scan, guess passwords, call home, carry data out, spread, flood or send mail unlike the others.
    It reads profile tables (see tocsin.detectors.outlier.profiles), a row a host and day.

    Reading the score: evidence in bits. For a behaviour of b bits on its own (its prior tail is 2^-b), among n other
    hosts of the same kind with b_1 … b_n bits of the same behaviour,

        P = (m · 2^-b + Σ_j [b_j > 0] · min(1, 2^(1.5 · (b_j - b)))) / (m + n),    evidence = -log2 P

    a tail estimate of the population, smoothed by a Pareto kernel around each host, with the prior worth m hosts.
    The host itself is left out, on all days; of attacks so are the three strongest other hosts, as an outbreak must not
    excuse itself; and so is what was itself out of the ordinary on earlier days. Behaviours that a role explains are
    set against the host's own usual day alike, with a steeper kernel, and the weaker evidence counts. Evidence is at
    most 2 · b. A host's raw score is its strongest evidence plus a fifth of the next two, where carrying out and
    spreading count seven tenths while no other day of it is known; a host that is not ours counts two fifths.

    Cold start: without any other day the hosts of the same day are the population; of one host alone, the prior judges.
    Missing values: a behaviour that a host did not show has 0 bits and no evidence.
    Cost: fitting and scoring sort the hosts once a behaviour; about 100 bytes a host and day are kept.
    References: leave-one-out kernel tails, Breiman, Meisel, Purcell 1977; behaviours carry their own.

        >>> detector = HostDetector().fit([profile_of_monday])          # doctest: +SKIP
        >>> detector.score(profile_of_tuesday).raw                      # doctest: +SKIP
    """

    name: ClassVar[str] = "hosts"
    format: ClassVar[int] = 1

    def __init__(self) -> None:
        self._baseline = Baseline()

    def fit(self, batches: Iterable[pa.Table]) -> "HostDetector":
        """Learn from profile tables of the baseline's days, oldest first; none at all is fine: the prior remains.

        What was itself out of the ordinary on its day, seen from the days before, is no example for later ones.
        """
        self._baseline = Baseline()
        for table in batches:
            score = host_score(self.evidence(table), self.tests(table)[:, None])
            bits = _bits(table)
            self._baseline = self._baseline.with_days(table, bits, np.where(score < ORDINARY, bits, np.float32(0)))
        return self

    def score(self, batch: pa.Table) -> Scored:
        """Score each host of a profile table against the baseline's hosts and its own, itself left out."""
        evidence = self.evidence(batch) * self._trust(batch)
        raw = _combine(evidence) * np.where(_flags(batch), 1.0, OUTSIDE_SHARE)
        order = np.argsort(-evidence, axis=1, kind="stable")[:, : min(4, len(NAMES))]
        top = np.take_along_axis(evidence, order, axis=1)
        weight = np.where(top >= MIN_REASON_BITS, top, 0.0)
        weight[:, 0] = top[:, 0]
        total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
        return Scored(
            raw=raw,
            fields=list(NAMES),
            reason_field=np.where(weight > 0, order, -1).astype(np.int16),
            reason_share=(weight / total).astype(np.float32),
        )

    def evidence(self, batch: pa.Table) -> np.ndarray:
        """Return the evidence of each host and behaviour: (n, behaviours) float64, bits."""
        bits, ours = _bits(batch), _flags(batch)
        hosts = batch.column("host").to_pylist()
        days = _days(batch)
        base = self._baseline.with_days(batch, bits, bits)
        result = np.zeros(bits.shape)
        for kind in (True, False):
            rows: list[int] = np.flatnonzero(ours == kind).tolist()
            if rows:
                mine = [hosts[i] for i in rows], [days[i] for i in rows], bits[rows].astype(np.float64)
                result[rows] = base.of_kind(ours=kind).evidence(*mine)
        return result

    def _trust(self, batch: pa.Table) -> np.ndarray:
        """Return by what each host's evidence counts in its rank: less where its role is not known yet."""
        today = set(_days(batch))
        known = {host for host, day in zip(self._baseline.hosts, self._baseline.days, strict=True) if day not in today}
        new = np.array([host not in known for host in batch.column("host").to_pylist()], np.bool_)
        much = np.array([name in MOVES_MUCH for name in NAMES])
        return np.where(new[:, None] & much, UNKNOWN_SHARE, 1.0)

    def tests(self, batch: pa.Table) -> np.ndarray:
        """Return how many hosts of its kind times behaviours were looked through, for each row: (n,) float64."""
        population = np.asarray(batch.column("population").to_numpy(), np.float64)
        return np.asarray(np.maximum(1.0, population) * len(NAMES))

    def expected(self, field_name: str) -> str:
        """Say in words what is normal for a behaviour, with what the baseline's own hosts reach."""
        return BY_NAME[field_name].expected

    def state(self) -> State:
        """Return the baseline: its hosts, days and bits."""
        return {"format": self.format, "names": list(NAMES), **vars(self._baseline)}

    def restore(self, state: State) -> "HostDetector":
        """Take over a baseline. Raises ModelError when it is of another format or incomplete."""
        if state.get("format") != self.format or state.get("names") != NAMES:
            raise ModelError(f"this host model is of format {state.get('format')!r}; {self.format} is read")
        try:
            baseline = Baseline(
                hosts=list(state["hosts"]),
                days=list(state["days"]),
                ours=np.asarray(state["ours"], np.bool_),
                bits=np.asarray(state["bits"], np.float32),
                clean=np.asarray(state["clean"], np.float32),
                populations={day: [int(count) for count in counts] for day, counts in state["populations"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the host model is incomplete: {error}") from error
        shape = (len(baseline.hosts), len(NAMES))
        if baseline.bits.shape != shape or baseline.clean.shape != shape or len(baseline.days) != shape[0]:
            raise ModelError("the host model is damaged: its arrays do not fit together")
        self._baseline = baseline
        return self


@dataclass(frozen=True)
class Baseline:
    """The hosts that others are compared with, a row a host and day.

    ours: (n,) bool. bits, clean: (n, behaviours) float32, see Population. populations: day -> our hosts, other hosts.
    """

    hosts: list[str] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    ours: np.ndarray = field(default_factory=lambda: np.zeros(0, np.bool_))
    bits: np.ndarray = field(default_factory=lambda: np.zeros((0, len(NAMES)), np.float32))
    clean: np.ndarray = field(default_factory=lambda: np.zeros((0, len(NAMES)), np.float32))
    populations: dict[str, list[int]] = field(default_factory=dict)

    def with_days(self, table: pa.Table, bits: np.ndarray, clean: np.ndarray) -> "Baseline":
        """Return this baseline with the days of a profile table, in place of what it knew of them."""
        new = _populations(table)
        kept = [i for i, day in enumerate(self.days) if day not in new]
        return Baseline(
            hosts=[self.hosts[i] for i in kept] + table.column("host").to_pylist(),
            days=[self.days[i] for i in kept] + _days(table),
            ours=np.concatenate([self.ours[kept], _flags(table)]),
            bits=np.concatenate([self.bits[kept], bits]),
            clean=np.concatenate([self.clean[kept], clean]),
            populations={day: counts for day, counts in self.populations.items() if day not in new} | new,
        )

    def of_kind(self, *, ours: bool) -> Population:
        """Return the hosts that are ours, or the others."""
        rows: list[int] = np.flatnonzero(self.ours == ours).tolist()
        count = sum(counts[0 if ours else 1] for counts in self.populations.values())
        return Population(
            [self.hosts[i] for i in rows],
            [self.days[i] for i in rows],
            self.bits[rows].astype(np.float64),
            self.clean[rows].astype(np.float64),
            count,
        )


def _combine(evidence: np.ndarray) -> np.ndarray:
    ordered = -np.sort(-evidence, axis=1)
    return np.asarray(ordered[:, 0] + OTHERS_SHARE * ordered[:, 1:3].sum(axis=1))


def _bits(table: pa.Table) -> np.ndarray:
    columns = [np.minimum(table.column(name).to_numpy(), MAX_BITS) for name in NAMES]
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((table.num_rows, 0), np.float32)


def _days(table: pa.Table) -> list[str]:
    return [str(day) for day in table.column("day").to_pylist()]


def _flags(table: pa.Table) -> np.ndarray:
    return np.asarray(table.column("ours").to_numpy(zero_copy_only=False), np.bool_)


def _populations(table: pa.Table) -> dict[str, list[int]]:
    """Return day -> [hosts of ours, other hosts] of a profile table."""
    result: dict[str, list[int]] = {}
    rows = (
        table.select(["day", "ours", "population"])
        .group_by(["day", "ours"])
        .aggregate([("population", "max")])
        .to_pylist()
    )
    for row in rows:
        result.setdefault(str(row["day"]), [0, 0])[0 if row["ours"] else 1] = int(row["population_max"])
    return result
