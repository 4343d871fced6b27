"""Counts of (host, fingerprint) pairs: one pass, mergeable, looked up in whole columns at once.

A fingerprint's name carries the field it came from, `ndpi_ja4:t13d…`, for only those of one field can be compared.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PAIRS = pa.schema({
    "host": pa.string(), "fingerprint": pa.string(), "count": pa.int64(), "first": pa.int64(), "last": pa.int64(),
})  # fmt: skip
"""A row a pair, sorted by host and fingerprint. first, last: microseconds since 1970, UTC."""

FOLD_ROWS = 500_000


def count_pairs(tables: Iterable[pa.Table], host: str, fields: list[str]) -> pa.Table:
    """Count the fingerprints of each host: of the first of these fields that a flow has. Returns PAIRS."""
    waiting = [PAIRS.empty_table()]
    rows = 0
    for table in tables:
        waiting.append(_fold([_observed(table, host, fields)]))
        rows += waiting[-1].num_rows
        if rows > FOLD_ROWS:
            waiting = [_fold(waiting)]
            rows = 0
    return _fold(waiting)


def merge_pairs(tables: Iterable[pa.Table]) -> pa.Table:
    """Add up counts; the order of the tables does not matter."""
    return _fold([PAIRS.empty_table(), *tables])


def tagged(table: pa.Table, fields: list[str]) -> pa.ChunkedArray | None:
    """Return each flow's fingerprint as `field:value`, null where it has none; None where no such column is there."""
    columns = []
    for name in fields:
        if name in table.column_names:
            values = pc.cast(table.column(name), pa.string())
            present = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            columns.append(pc.binary_join_element_wise(name, present, ":"))
    return pc.coalesce(*columns) if columns else None


def _observed(table: pa.Table, host: str, fields: list[str]) -> pa.Table:
    found = tagged(table, fields)
    if found is None or table.num_rows == 0:
        return PAIRS.empty_table()
    times = pc.cast(pc.cast(table.column("stime"), pa.timestamp("us", "UTC")), pa.int64())
    ones = pa.chunked_array([np.ones(table.num_rows, np.int64)])
    pairs = pa.table([pc.cast(table.column(host), pa.string()), found, ones, times, times], schema=PAIRS)
    return pairs.filter(pc.and_(pc.is_valid(found), pc.is_valid(pairs.column("host"))))


def _fold(tables: list[pa.Table]) -> pa.Table:
    grouped = pa.concat_tables(tables).group_by(["host", "fingerprint"])
    folded = grouped.aggregate([("count", "sum"), ("first", "min"), ("last", "max")])
    folded = folded.rename_columns(["host", "fingerprint", "count", "first", "last"]).select(PAIRS.names).cast(PAIRS)
    return folded.sort_by([("host", "ascending"), ("fingerprint", "ascending")]).combine_chunks()


def keep_most_frequent(pairs: pa.Table, most: int) -> pa.Table:
    """Return at most so many pairs, the rarest left out: what bounds memory."""
    if pairs.num_rows <= most:
        return pairs
    order = np.lexsort((np.arange(pairs.num_rows), -pairs.column("count").to_numpy()))
    return pairs.take(np.sort(order[:most]))


@dataclass(frozen=True)
class Index:
    """Pairs made ready for look-ups. A *group* is one host with one field; arrays of a pair run along `pairs`."""

    pairs: pa.Table
    hosts: pa.Array = field(init=False)
    fingerprints: pa.Array = field(init=False)
    fields: list[str] = field(init=False)
    field_of: np.ndarray = field(init=False)
    keys: np.ndarray = field(init=False)
    group: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        hosts = pc.unique(self.pairs.column("host").combine_chunks())
        fingerprints = pc.unique(self.pairs.column("fingerprint").combine_chunks())
        names = [str(text).partition(":")[0] for text in fingerprints.to_pylist()]
        fields = sorted(set(names))
        field_of = np.array([fields.index(name) for name in names], np.int64)
        host = positions(self.pairs.column("host"), hosts)
        fingerprint = positions(self.pairs.column("fingerprint"), fingerprints)
        keys = host * max(len(fingerprints), 1) + fingerprint
        order = np.argsort(keys, kind="stable")
        for name, value in {
            "hosts": hosts, "fingerprints": fingerprints, "fields": fields, "field_of": field_of,
            "pairs": self.pairs.take(order), "keys": keys[order],
            "group": (host * max(len(fields), 1) + field_of[fingerprint])[order],
        }.items():  # fmt: skip
            object.__setattr__(self, name, value)

    @cached_property
    def counts(self) -> np.ndarray:
        """Flows of each pair: (pairs,) int64."""
        return np.asarray(self.pairs.column("count").to_numpy())

    @cached_property
    def flows(self) -> np.ndarray:
        """Flows of each group: (hosts · fields,) float64."""
        return np.asarray(np.bincount(self.group, self.counts, self._groups))

    @cached_property
    def distinct(self) -> np.ndarray:
        """Distinct fingerprints of each group: (hosts · fields,) int64."""
        return np.asarray(np.bincount(self.group, minlength=self._groups))

    @cached_property
    def bearers(self) -> np.ndarray:
        """Hosts that have each fingerprint: (fingerprints,) int64."""
        return np.asarray(np.bincount(self.keys % max(len(self.fingerprints), 1), minlength=len(self.fingerprints)))

    @cached_property
    def population(self) -> np.ndarray:
        """Hosts that have any fingerprint of each field: (fields,) int64."""
        return np.asarray(np.count_nonzero(self.flows.reshape(len(self.hosts), len(self.fields)), axis=0))

    @property
    def _groups(self) -> int:
        return len(self.hosts) * len(self.fields)

    def of(self, hosts: pa.ChunkedArray, fingerprints: pa.ChunkedArray, names: list[str]) -> "Found":
        """Look pairs up. names: the field of each fingerprint is one of these."""
        host = positions(hosts, self.hosts)
        fingerprint = positions(fingerprints, self.fingerprints)
        which = np.full(len(host), -1)
        for name in names:
            if name in self.fields:
                own = pc.fill_null(pc.starts_with(fingerprints, f"{name}:"), pa.scalar(value=False))
                which[own.to_numpy()] = self.fields.index(name)
        flows, distinct, other = np.zeros(len(host)), np.zeros(len(host)), np.zeros(len(host))
        count = np.zeros(len(host), np.int64)
        known = (host >= 0) & (which >= 0)
        group = host[known] * len(self.fields) + which[known]
        flows[known], distinct[known] = self.flows[group], self.distinct[group]
        both = (host >= 0) & (fingerprint >= 0)
        if both.any():
            keys = host[both] * len(self.fingerprints) + fingerprint[both]
            place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            count[both] = np.where(self.keys[place] == keys, self.counts[place], 0)
        seen = fingerprint >= 0
        others = self.bearers[fingerprint[seen]] - (count[seen] > 0)
        other[seen] = others / (self.population[self.field_of[fingerprint[seen]]] + 1)
        return Found(count, flows, distinct, other)


@dataclass(frozen=True)
class Found:
    """What is known of looked-up pairs: (n,) each.

    count: flows of the pair. flows, distinct: flows and distinct fingerprints of the host in that field.
    others: share of the other hosts that have the fingerprint, 0 to 1.
    """

    count: np.ndarray
    flows: np.ndarray
    distinct: np.ndarray
    others: np.ndarray


def positions(values: pa.ChunkedArray, among: pa.Array) -> np.ndarray:
    """Return where each value stands among these, -1 where it does not: (n,) int64."""
    found = pc.fill_null(pc.index_in(values, value_set=among), -1)
    if pa.types.is_null(values.type) or len(among) == 0:
        return np.full(len(values), -1, np.int64)
    return np.asarray(found.to_numpy(), np.int64)


def groups(index: Index) -> Iterator[tuple[str, str, slice]]:
    """Yield each group: host, field, and where its pairs stand after a stable sort by group."""
    order = np.sort(index.group, kind="stable")
    edges = np.append(np.flatnonzero(np.diff(order, prepend=-1)), len(order))
    for start, end in pairwise(edges):
        host, which = divmod(int(order[start]), len(index.fields))
        yield index.hosts[host].as_py(), index.fields[which], slice(int(start), int(end))
