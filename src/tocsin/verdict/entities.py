"""From scored flows to entities: whose flows are unusual, more of them than chance and habit explain."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import InputError
from tocsin.records.finding import Candidate
from tocsin.verdict.flow_reasons import FlowReasons
from tocsin.verdict.severity import Cutoffs
from tocsin.verdict.tally import Heads, Tally

KIND = "unusual-flows"

RECORDS = 20
"""Flows kept with a candidate: those that score highest."""

LEAST_EXPECTED = 0.25
"""Unusual flows that anyone may have: below, a host of few flows would be reported for two of them."""

STEADY_FLOWS = 200
STEADY_ENTITIES = 8
"""From so many flows an entity has a rate of its own, and so many such entities show how unusual the whole day is."""

FAR_BEYOND = 1e-7
"""Tail probability of a single flow from which it is reported by itself."""

LEAST_P = 1e-6
"""Below this the score only creeps towards 100."""

_REQUIRED = ("stime", "saddr", "daddr", "proto", "raw", "score")
_KNOWN_ADDRESSES = 1_000_000


class FlowEntities:
    """Gathers one day's scored flows, batch by batch, and proposes entities with too many unusual ones.

    An entity is the flow's end in a home network, the originator where both or neither are. Of an entity's n flows,
    n·(1 - cut-off/100) are expected at or above the `high` cut-off. Hosts differ, and unusual flows come in bursts, so
    the number is not Poisson: with rates spread exponentially over hosts, the chance of h or more is
    (μ/(1+μ))^h for a mean of μ (a geometric distribution: negative binomial of shape 1). Of a host that was not seen on
    the days before it is not known how far its rate lies from the others': the chance is then that of a Lomax
    distribution, (1 + h/μ)^-2, whose long tail lets a public server receive some odd flows. Where most of the busy
    entities lie above the nominal rate, their median rate is the expected one: a day that is unusual as a whole is
    not the fault of each host. A candidate's score is 100·(1 - that chance), its raw value is -log10 of it.

    Memory grows with the number of entities; the result does not depend on the order or split of the batches.

    Args:
        cutoffs: `high` decides which flows count.
        home_networks: CIDR blocks that are ours.
        expected: says in words what is normal for a field; by protocol, or one for all.
        detector: name that the candidates carry.
        usual: tallies of the days before (see `tally`). An entity's own share of unusual flows on those days is
            expected of it again, where it is above the others': a public server receives odd flows every day.
    """

    def __init__(
        self,
        cutoffs: Cutoffs,
        home_networks: Sequence[str],
        expected: Callable[[str], str] | Mapping[str, Callable[[str], str]],
        detector: str = "outlier",
        usual: Sequence[pa.Table] = (),
    ) -> None:
        self._usual = Tally(("entity",), {"flows": "sum", "high": "sum"})
        for day in usual:
            self._usual.add(day)
        self._cutoffs = cutoffs
        self._home = [ipaddress.ip_network(network, strict=False) for network in home_networks]
        self._is_home: dict[str, bool] = {}
        self._detector = detector
        self._all = Tally(("entity",), {"flows": "sum"})
        self._high = Tally(("entity",), {"high": "sum", "made": "sum", "best": "max", "start": "min", "end": "max"})
        order = [("score", "descending"), ("raw", "descending"), ("stime", "ascending"), ("flowid", "ascending")]
        self._records = Heads(("entity",), order, RECORDS)
        self._reasons = FlowReasons(expected)

    def add(self, table: pa.Table) -> None:
        """Take scored flows in.

        Args:
            table: stime, saddr, daddr, proto, raw, score; and where there are any: flowid, etime, sport, dport, model,
                reason_1, reason_1_share, …, and the flow's own columns, which reasons and records are told with.

        Raises:
            InputError: when a required column is missing.
        """
        missing = [name for name in _REQUIRED if name not in table.column_names]
        if missing:
            raise InputError(f"scored flows lack the columns {', '.join(missing)}")
        made = self._is_originator(table)
        entity = pc.if_else(made, _text(table.column("saddr")), _text(table.column("daddr")))
        ones = pa.array(np.ones(table.num_rows, np.int64))
        self._all.add(pa.table({"entity": entity, "flows": ones}))
        is_high = pc.fill_null(pc.greater_equal(table.column("score"), self._cutoffs.high), fill_value=False)
        high = _plain(table.append_column("entity", entity).append_column("made", made).filter(is_high))
        if high.num_rows:
            self._add_high(high)

    def candidates(self) -> list[Candidate]:
        """Return the entities worth judging, most unlikely first."""
        high = self._high.result()
        if high.num_rows == 0:
            return []
        flows = self._flows_of(high.column("entity"))
        count = high.column("high").to_numpy()
        own = self._own_rates(high.column("entity"))
        expected = np.maximum(flows * np.fmax(self._rate(), own), LEAST_EXPECTED)
        # log P(h or more) = h·log(μ/(1+μ)) for a host that is known, -2·log(1 + h/μ) for one that is not
        known = count * np.log(expected / (1 + expected))
        log_chance = np.where(np.isnan(own), np.maximum(known, -2 * np.log1p(count / expected)), known)
        log_single = np.log(self._single(flows, high.column("best").to_numpy()))
        log_p = np.minimum(log_chance, log_single)
        score = 100 * (1 - _least(log_p))
        chosen = np.flatnonzero(score >= min(self._cutoffs.low, self._cutoffs.medium))
        extra = {
            "flows": flows,
            "expected": expected,
            "raw": -log_p / np.log(10),
            "score": score,
            "alone": log_single < log_chance,
        }
        for name, values in extra.items():
            high = high.append_column(name, pa.array(values))
        rows = high.take(pa.array(chosen)).to_pylist()
        records = self._records_of({row["entity"] for row in rows})
        proposed = [self._candidate(row, records[row["entity"]]) for row in rows]
        return sorted(proposed, key=lambda candidate: (-candidate.raw, candidate.entity))

    def tally(self) -> pa.Table:
        """Return entity, flows and how many of them were unusual, by entity: what `usual` takes on later days."""
        everyone, high = self._all.result(), self._high.result()
        at = pc.index_in(everyone.column("entity"), value_set=high.column("entity").combine_chunks())
        count = pc.fill_null(high.column("high").cast(pa.int64()).take(at), 0)
        return everyone.append_column("high", count).sort_by("entity")

    def _own_rates(self, entities: pa.ChunkedArray) -> np.ndarray:
        """Return the share of each entity's flows that was unusual on the days before, NaN for one not seen then."""
        known = self._usual.result()
        at = pc.index_in(entities, value_set=known.column("entity").combine_chunks())
        flows, high = (known.column(name).cast(pa.float64()).take(at).to_numpy() for name in ("flows", "high"))
        rates: np.ndarray = high / np.maximum(flows, STEADY_FLOWS)
        return rates

    def _add_high(self, high: pa.Table) -> None:
        end = high.column("etime") if "etime" in high.column_names else high.column("stime")
        if "flowid" not in high.column_names:
            high = high.append_column("flowid", pa.nulls(high.num_rows, pa.string()))
        self._high.add(
            pa.table(
                {
                    "entity": high.column("entity"),
                    "high": pa.array(np.ones(high.num_rows, np.int64)),
                    "made": high.column("made").cast(pa.int64()),
                    "best": high.column("score"),
                    "start": high.column("stime"),
                    "end": pc.coalesce(end, high.column("stime")),
                }
            )
        )
        self._reasons.add(high)
        self._records.add(high.drop_columns(["made"]))

    def _is_originator(self, table: pa.Table) -> pa.ChunkedArray:
        """Tell for each flow whether its originator is the entity."""
        ours = [self._at_home(_text(table.column(name))) for name in ("saddr", "daddr")]
        return pc.or_(ours[0], pc.invert(ours[1]))

    def _at_home(self, addresses: pa.ChunkedArray) -> pa.ChunkedArray:
        encoded = addresses.combine_chunks().dictionary_encode(null_encoding="encode")
        if len(self._is_home) > _KNOWN_ADDRESSES:
            self._is_home.clear()
        for text in encoded.dictionary.to_pylist():
            if text not in self._is_home:
                self._is_home[text] = self._in_home_network(text)
        known = pa.array([self._is_home[text] for text in encoded.dictionary.to_pylist()], pa.bool_())
        return pa.chunked_array([known.take(encoded.indices)])

    def _in_home_network(self, text: str | None) -> bool:
        try:
            address = ipaddress.ip_address((text or "").partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._home)

    def _flows_of(self, entities: pa.ChunkedArray) -> np.ndarray:
        table = self._all.result()
        at = pc.index_in(entities, value_set=table.column("entity").combine_chunks())
        flows: np.ndarray = table.column("flows").take(at).to_numpy()
        return flows

    def _rate(self) -> float:
        """Return the share of an entity's flows that is expected to be unusual today."""
        nominal = 1 - self._cutoffs.high / 100
        table, high = self._all.result(), self._high.result()
        at = pc.index_in(table.column("entity"), value_set=high.column("entity").combine_chunks())
        count = pc.fill_null(high.column("high").take(at), 0).to_numpy()
        flows = table.column("flows").to_numpy()
        steady = flows >= STEADY_FLOWS
        if steady.sum() < STEADY_ENTITIES:
            return nominal
        return max(nominal, float(np.median(count[steady] / flows[steady])))

    def _single(self, flows: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return the chance of the most unusual flow, 1 where it is not far beyond; never critical by itself."""
        tail = 1 - best / 100
        floor = np.nextafter(1 - self._cutoffs.critical / 100, 1) * (1 + 1e-9)
        result: np.ndarray = np.where(tail <= FAR_BEYOND, np.clip(flows * tail, floor, 1.0), 1.0)
        return result

    def _records_of(self, entities: set[str]) -> dict[str, list[dict[str, Any]]]:
        kept = self._records.result()
        records: dict[str, list[dict[str, Any]]] = {entity: [] for entity in entities}
        if kept is None:
            return records
        wanted = pc.is_in(kept.column("entity"), value_set=pa.array(sorted(entities), pa.string()))
        for row in kept.filter(wanted).to_pylist():
            records[row.pop("entity")].append({key: value for key, value in row.items() if value is not None})
        return records

    def _candidate(self, row: dict[str, Any], records: list[dict[str, Any]]) -> Candidate:
        entity = row["entity"]
        reasons = self._reasons.of(entity)
        fields = ", ".join(reason.field for reason in reasons)
        by_side = {row["high"]: {"saddr": entity}, 0: {"daddr": entity}}
        return Candidate(
            detector=self._detector,
            kind=KIND,
            entity=entity,
            start=row["start"],
            end=max(row["end"], row["start"]),
            raw=row["raw"],
            score=row["score"],
            title=f"{_title(row)}: {fields} out of the ordinary" if fields else _title(row),
            reasons=reasons,
            records=records,
            record_count=row["high"],
            scope=by_side.get(row["made"], {}),
            model=str(records[0].get("model", "")) if records else "",
        )


def _title(row: dict[str, Any]) -> str:
    verb = {row["high"]: "made", 0: "received"}.get(row["made"], "had")
    if row["alone"]:
        return f"{row['entity']} {verb} a flow far beyond what is normal, among {row['flows']:,}"
    noun = "flow" if row["high"] == 1 else "flows"
    few = f"{row['expected']:.1f}" if row["expected"] < 10 else f"{row['expected']:,.0f}"
    return f"{row['entity']} {verb} {row['high']:,} unusual {noun} ({few} expected of {row['flows']:,})"


def _least(log_p: np.ndarray) -> np.ndarray:
    """Return the probability, creeping below LEAST_P: nobody can claim less, but smaller stays smaller."""
    short = np.maximum(np.log(LEAST_P) - log_p, 0.0)
    result: np.ndarray = np.where(short > 0, LEAST_P / (1 + short), np.exp(np.maximum(log_p, np.log(LEAST_P))))
    return result


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type == pa.string() else column.cast(pa.string())


def _plain(table: pa.Table) -> pa.Table:
    """Return dictionary columns as plain text, so that tables of several models fit together."""
    for at, name in enumerate(table.column_names):
        if pa.types.is_dictionary(table.schema.field(at).type):
            table = table.set_column(at, name, table.column(at).cast(table.schema.field(at).type.value_type))
    return table
