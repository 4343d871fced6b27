"""Hosts whose TLS or TCP fingerprints are not theirs: another device, another program, or many behind one address.

What it finds: a host whose clients (JA4) or server software (JA3S) present fingerprints that this host has not
presented before. How to read the novelty: 0 is what the host always does, 1 is nothing of it.

The equations, for one host and one field, with c_f flows of fingerprint f among N flows and T distinct fingerprints in
the history, d_f among D flows and U distinct fingerprints in the day that is judged, and a_f the share of the other
hosts that present f (in the history or on that day, whichever is more):

    trust       λ = N / (N + T)                         the chance that the next flow is of a known fingerprint
    of a flow   n_f = λ · (1 − a_f) / (1 + c_f)
    change      v = Σ_f max(0, d_f/D − c_f/N) · (1 − a_f)        total variation distance, tempered
    unseen      w = Σ_{f: c_f = 0} (1 − a_f) / U                 share of the day's fingerprints new to the host
    of a day    λ · D/(D + 1) · (1 − (1 − v) · (1 − w))

λ is Witten and Bell's estimate (1991, method C): a host that shows ever new fingerprints is no surprise when it does
again. Cold start: a host with fewer than `min_observations` flows in a field is unknown, not novel. Missing
fingerprints are skipped; where a flow lacks the first field the next one is taken, and fields are never mixed.
Cost: one grouping per batch, memory by distinct pairs, at most MAX_PAIRS of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detector import State, dump_state, load_state
from tocsin.detectors.outlier.pairs import PAIRS, Index, count_pairs, groups, keep_most_frequent, merge_pairs, tagged
from tocsin.errors import ModelError, NotFoundError
from tocsin.records.finding import Candidate, Reason
from tocsin.settings import FingerprintSettings
from tocsin.store import Store

FORMAT = 1
MAX_PAIRS = 1_000_000
CLIENT_FALLBACKS = ("ndpi_ja4", "ndpi_fp", "ndpi_tcp_fp")
SERVER_FALLBACKS = ("ndpi_ja3s",)
HOST_COLUMN = {"client": "saddr", "server": "daddr"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """One host and field on one day: how novel, and the pairs of that day with what the history says of them."""

    host: str
    role: str
    field: str
    novelty: float
    flows: int
    known_flows: int
    fingerprints: list[tuple[str, int, int, float]]
    """fingerprint, flows that day, flows in the history, share of the change; largest share first."""
    start: datetime
    end: datetime


class FingerprintProfiles:
    """The fingerprints each host has presented, as client and as server.

    Example:
        >>> profiles = FingerprintProfiles(FingerprintSettings(min_observations=1))
        >>> flow = {"stime": [EPOCH], "saddr": ["10.0.0.1"], "daddr": ["10.0.0.2"], "ndpi_ja4": ["t13d1516h2_a"]}
        >>> profiles.build([pa.table(flow)]).novelty(pa.table(flow)).round(2).tolist()
        [0.25]
    """

    name = "fingerprint"
    format = FORMAT

    def __init__(self, settings: FingerprintSettings | None = None) -> None:
        self.settings = settings or FingerprintSettings()
        self.days: list[str] = []
        """The days that were learned, ISO, ascending."""
        self._indexes = {role: Index(PAIRS.empty_table()) for role in HOST_COLUMN}

    def fields(self, role: str) -> list[str]:
        """Return the columns that are looked at, the preferred one first."""
        first = self.settings.client_field if role == "client" else self.settings.server_field
        return list(dict.fromkeys((first, *(CLIENT_FALLBACKS if role == "client" else SERVER_FALLBACKS))))

    def columns(self) -> list[str]:
        """Return the columns that a batch should have; absent fingerprints are fine."""
        return ["stime", *HOST_COLUMN.values(), *self.fields("client"), *self.fields("server")]

    def pairs(self, role: str) -> pa.Table:
        """Return what was learned of a role: a row a host and fingerprint, as pairs.PAIRS."""
        return self._indexes[role].pairs

    @property
    def empty(self) -> bool:
        """Whether nothing was learned."""
        return not any(index.pairs.num_rows for index in self._indexes.values())

    def build(self, batches: Iterable[pa.Table], *, days: Iterable[str] = ()) -> "FingerprintProfiles":
        """Learn from batches, each read once, beside what was learned before."""
        for batch in batches:
            self._take({role: count_pairs([batch], host, self.fields(role)) for role, host in HOST_COLUMN.items()})
        self._finish(days)
        return self

    def merge(self, other: "FingerprintProfiles") -> "FingerprintProfiles":
        """Learn what other profiles know; associative and commutative."""
        self._take({role: other.pairs(role) for role in HOST_COLUMN})
        self._finish(other.days)
        return self

    def novelty(self, batch: pa.Table) -> np.ndarray:
        """Return how new each flow's fingerprints are to its hosts: (n,) float64, 0 to 1, NaN where that is unknown.

        Where both the client's and the server's are known the larger stands.
        """
        result = np.full(batch.num_rows, np.nan)
        for role, host in HOST_COLUMN.items():
            found = tagged(batch, self.fields(role))
            if found is None or batch.num_rows == 0:
                continue
            seen = self._indexes[role].of(batch.column(host), found, self.fields(role))
            known = (seen.flows >= self.settings.min_observations) & found.is_valid().to_numpy()
            trust = seen.flows / np.maximum(seen.flows + seen.distinct, 1)
            result = np.fmax(result, np.where(known, trust * (1 - seen.others) / (1 + seen.count), np.nan))
        return result

    def changes(self, day: "FingerprintProfiles") -> list[Change]:
        """Compare a day's profiles with these: hosts known well enough in both, most novel first."""
        found = [change for role in HOST_COLUMN for change in self._changes(day, role)]
        return sorted(found, key=lambda change: (-change.novelty, change.host, change.role, change.field))

    def candidates(self, day: pa.Table | Iterable[pa.Table]) -> list[Candidate]:
        """Return what a day's flows say: `fingerprint-change` and, where wanted, `many-fingerprints`."""
        batches = [day] if isinstance(day, pa.Table) else day
        profile = FingerprintProfiles(self.settings).build(batches)
        changes = [c for c in self.changes(profile) if c.novelty >= self.settings.anomaly_threshold]
        result = [_changed(change, self.settings.anomaly_threshold) for change in changes]
        return result + (self._crowded(profile) if self.settings.detect_suspicious else [])

    def state(self) -> State:
        """Return what was learned: counts and times as arrays, names as lists of strings."""
        state: State = {"format": FORMAT, "days": self.days, "settings": self.settings.model_dump(mode="json")}
        for role, index in self._indexes.items():
            for name in ("count", "first", "last"):
                state[f"{role}_{name}"] = index.pairs.column(name).to_numpy()
            for name in ("host", "fingerprint"):
                encoded = index.pairs.column(name).combine_chunks().dictionary_encode()
                state[f"{role}_{name}"] = encoded.indices.to_numpy().astype(np.int32)
                state[f"{role}_{name}s"] = encoded.dictionary.to_pylist()
        return state

    def restore(self, state: State) -> "FingerprintProfiles":
        """Take over a state. Raises ModelError when it is of another format or incomplete."""
        if state.get("format") != FORMAT:
            raise ModelError(
                f"fingerprint profiles have format {state.get('format')!r}, not {FORMAT}; build them again"
            )
        try:
            self.settings = FingerprintSettings(**state["settings"])
            self.days = list(state["days"])
            self._indexes = {role: Index(_table(state, role)) for role in HOST_COLUMN}
        except (KeyError, ValueError, IndexError, TypeError, pa.ArrowException) as error:
            raise ModelError(f"the fingerprint profiles are incomplete ({error!r}); build them again") from error
        return self

    def _take(self, more: dict[str, pa.Table]) -> None:
        self._waiting = getattr(self, "_waiting", [])
        self._waiting.append(more)
        if sum(table.num_rows for part in self._waiting for table in part.values()) > MAX_PAIRS:
            self._finish(())

    def _finish(self, days: Iterable[str]) -> None:
        waiting, self._waiting = getattr(self, "_waiting", []), []
        for role, index in self._indexes.items():
            merged = merge_pairs([index.pairs, *(part[role] for part in waiting)])
            self._indexes[role] = Index(keep_most_frequent(merged, MAX_PAIRS))
        self.days = sorted({*self.days, *days})

    def _changes(self, day: "FingerprintProfiles", role: str) -> Iterable[Change]:
        index, fields = day._indexes[role], self.fields(role)
        order = np.argsort(index.group, kind="stable")
        pairs = index.pairs.take(order)
        seen = self._indexes[role].of(pairs.column("host"), pairs.column("fingerprint"), fields)
        that_day = index.of(pairs.column("host"), pairs.column("fingerprint"), fields)
        counts, tempered = pairs.column("count").to_numpy(), 1 - np.maximum(seen.others, that_day.others)
        for host, name, part in groups(index):
            flows, history = counts[part].sum(), seen.flows[part][0]
            if history < self.settings.min_observations or flows < self.settings.min_observations:
                continue
            grown = np.maximum(0, counts[part] / flows - seen.count[part] / history) * tempered[part]
            new = np.where(seen.count[part] == 0, tempered[part] / len(grown), 0.0)
            trust = history / (history + seen.distinct[part][0]) * flows / (flows + 1)
            novelty = trust * (1 - (1 - min(grown.sum(), 1.0)) * (1 - min(new.sum(), 1.0)))
            share = (grown + new) / max((grown + new).sum(), 1e-12)
            rows = pairs.slice(part.start, part.stop - part.start).to_pydict()
            texts = [text.partition(":")[2] for text in rows["fingerprint"]]
            listed = sorted(
                zip(texts, rows["count"], seen.count[part].tolist(), share.tolist(), strict=True), key=_by_share
            )
            span = EPOCH + timedelta(microseconds=min(rows["first"])), EPOCH + timedelta(microseconds=max(rows["last"]))
            yield Change(host, role, name, float(novelty), int(flows), int(history), listed, *span)

    def _crowded(self, day: "FingerprintProfiles") -> list[Candidate]:
        """Return the clients with many fingerprints, more than on the days before.

        A server's answer varies with what its clients offer, so many of them say nothing.
        """
        most, result = self.settings.max_fingerprints_per_host, []
        before = self.pairs("client").group_by("host").aggregate([("fingerprint", "count")])
        known = {row["host"]: row["fingerprint_count"] for row in before.to_pylist()}
        index = day._indexes["client"]
        pairs = index.pairs.take(np.argsort(index.group, kind="stable"))
        for host, name, part in groups(index):
            rows = pairs.slice(part.start, part.stop - part.start)
            flows = sum(rows.column("count").to_pylist())
            if rows.num_rows > max(most, known.get(host, 0)) and flows >= self.settings.min_observations:
                result.append(_many(host, "client", name, rows, most))
        return sorted(result, key=lambda candidate: (-candidate.raw, candidate.entity, candidate.about))


def load_profiles(store: Store, domain: str) -> FingerprintProfiles | None:
    """Return the profiles that were built, or None. Raises ModelError, StoreError."""
    try:
        stored = store.get(profiles_path(domain))
    except NotFoundError:
        return None
    return FingerprintProfiles().restore(load_state(stored.data))


def save_profiles(store: Store, domain: str, profiles: FingerprintProfiles) -> None:
    """Keep profiles in the store. Raises StoreError."""
    store.put(profiles_path(domain), dump_state(profiles.state()))


def profiles_path(domain: str) -> str:
    """Return where a domain's profiles lie."""
    return f"{domain}/fingerprint/profiles.npz"


def _by_share(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return -row[3], -row[1], row[0]


def _table(state: State, role: str) -> pa.Table:
    names = {name: pa.array(state[f"{role}_{name}s"], pa.string()).take(pa.array(state[f"{role}_{name}"]))
             for name in ("host", "fingerprint")}  # fmt: skip
    return pa.table({**names, **{name: state[f"{role}_{name}"] for name in ("count", "first", "last")}}, schema=PAIRS)


def _changed(change: Change, threshold: float) -> Candidate:
    reasons = []
    for text, flows, known, share in change.fingerprints[:5]:
        expected = f"{known:,} of {change.known_flows:,} flows before" if known else "never seen on this host"
        if share > 0:
            reasons.append(
                Reason(change.field, f"{text} in {flows:,} of {change.flows:,} flows", expected, round(share, 4))
            )
    return Candidate(
        detector=FingerprintProfiles.name,
        kind="fingerprint-change",
        entity=change.host,
        start=change.start,
        end=change.end,
        raw=change.novelty,
        score=_score(change.novelty, threshold),
        title=f"{change.host} presents {change.role} fingerprints that are not its own ({change.field})",
        reasons=reasons,
        records=[
            {change.field: text, "flows": flows, "flows_before": known}
            for text, flows, known, _ in change.fingerprints[:20]
        ],
        record_count=change.flows,
        scope={HOST_COLUMN[change.role]: change.host},
        about=f"{change.role}/{change.field}",
    )


def _score(novelty: float, threshold: float) -> float:
    """Return a novelty as a score: the threshold is 99.0 (medium), 1 is 99.99; novelties below are spread under 99."""
    if novelty < threshold:
        return 99.0 * novelty / threshold
    return 99.0 + 0.99 * (novelty - threshold) / max(1 - threshold, 1e-9)


def _many(host: str, role: str, name: str, rows: pa.Table, most: int) -> Candidate:
    listed = sorted(zip(rows.column("fingerprint").to_pylist(), rows.column("count").to_pylist(), strict=True),
                    key=lambda row: (-row[1], row[0]))  # fmt: skip
    flows = sum(count for _, count in listed)
    return Candidate(
        detector=FingerprintProfiles.name,
        kind="many-fingerprints",
        entity=host,
        start=EPOCH + timedelta(microseconds=min(rows.column("first").to_pylist())),
        end=EPOCH + timedelta(microseconds=max(rows.column("last").to_pylist())),
        raw=float(len(listed)),
        score=99.0 + 0.89 * (1 - most / len(listed)),
        title=f"{host} presents {len(listed):,} {role} fingerprints in a day ({name}): several devices, or a disguise",
        reasons=[Reason(name, f"{len(listed):,} fingerprints in {flows:,} flows", f"at most {most:,}", 1.0)],
        records=[{name: text.partition(":")[2], "flows": count} for text, count in listed[:20]],
        record_count=flows,
        scope={HOST_COLUMN[role]: host},
        about=f"{role}/{name}",
    )
