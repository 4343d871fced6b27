"""Hybrid: the histogram score together with what else is known of a flow's hosts.

    raw = Σ w_i · v_i / Σ w_i   over the inputs i that the row has

    v_1 = share of the training rows with a lower histogram score, 0 to 1
    v_2 = novelty of the host's TLS and TCP fingerprints, 0 to 1, unknown where it has none
    v_3 = reputation of the worse of both addresses, 0 (good) to 100 (bad), over 100; unknown where neither is listed

with w = 0.6, 0.2, 0.2 unless given. A row that lacks an input is judged by the others alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detector import Scored, State
from tocsin.detectors.outlier.features import Normaliser
from tocsin.detectors.outlier.hbos import Hbos
from tocsin.errors import ModelError

WEIGHTS = (0.6, 0.2, 0.2)
EXTRA = ("fingerprint", "reputation")
_KNOTS = 1001


class Fingerprints(Protocol):
    """What is known of hosts' fingerprints."""

    def novelty(self, batch: pa.Table) -> np.ndarray:
        """Return (n,) float64, how new each row's fingerprint is for its host, 0 to 1; not-a-number where unknown."""
        ...


Reputation: TypeAlias = Mapping[str, float] | pa.Table


@dataclass
class Hybrid:
    """A fitted histogram score with the distribution of its training scores: levels (1001,) float64, ascending."""

    normaliser: Normaliser
    hbos: Hbos
    levels: np.ndarray
    weights: tuple[float, float, float] = WEIGHTS
    fingerprints: Fingerprints | None = None
    reputation: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, normaliser: Normaliser, sample: pa.Table, seed: int) -> "Hybrid":
        """Fit the histogram score and keep the distribution of the sample's scores."""
        hbos = Hbos.fit(normaliser, sample, seed)
        raw = hbos.score(sample, 0, 1).raw
        return cls(normaliser, hbos, np.quantile(raw, np.linspace(0, 1, _KNOTS)))

    def score(self, batch: pa.Table, top: int, threads: int) -> Scored:
        """Score each row; the reasons are those of the histograms, with `fingerprint` and `reputation` among them."""
        plain = self.hbos.score(batch, top, threads)
        inputs = np.stack([self._share_lower(plain.raw), self._novelty(batch), self._reputation_of(batch)], axis=1)
        worth = np.where(np.isnan(inputs), 0, np.asarray(self.weights))
        parts = worth * np.nan_to_num(inputs) / np.maximum(worth.sum(axis=1, keepdims=True), 1e-12)
        raw = parts.sum(axis=1)
        share = parts / np.where(raw > 0, raw, 1)[:, None]
        return Scored(raw, [*plain.fields, *EXTRA], *_merge(plain, share, top))

    def state(self) -> State:
        """Return the arrays; fingerprints and reputation are looked up anew after a restore."""
        return {**self.hbos.state(), "levels": self.levels, "weights": list(self.weights)}

    @classmethod
    def restore(cls, state: State, normaliser: Normaliser) -> "Hybrid":
        """Take over the arrays. Raises ModelError when one is missing."""
        try:
            levels, weights = np.asarray(state["levels"]), state["weights"]
        except KeyError as error:
            raise ModelError(f"the model lacks {error}; train again") from error
        return cls(normaliser, Hbos.restore(state, normaliser), levels, (weights[0], weights[1], weights[2]))

    def _share_lower(self, raw: np.ndarray) -> np.ndarray:
        """Return the share of training rows that score lower, 0 to 1; beyond the largest it creeps on towards 1."""
        top = 1 - 0.5 / (_KNOTS - 1)
        ranks = np.linspace(0, top, _KNOTS)
        inside = np.interp(raw, self.levels, ranks)
        scale = max(float(self.levels[-1] - self.levels[_KNOTS // 2]), 1e-9)
        beyond = np.maximum(raw - self.levels[-1], 0) / scale
        return np.asarray(np.where(beyond > 0, 1 - (1 - top) / (1 + beyond), inside))

    def _novelty(self, batch: pa.Table) -> np.ndarray:
        if self.fingerprints is None:
            return np.full(batch.num_rows, np.nan)
        return np.clip(np.asarray(self.fingerprints.novelty(batch), np.float64), 0, 1)

    def _reputation_of(self, batch: pa.Table) -> np.ndarray:
        worst = np.full(batch.num_rows, np.nan)
        if not self.reputation:
            return worst
        listed = pa.array(self.reputation.keys(), pa.string())
        values = np.append(np.fromiter(self.reputation.values(), np.float64, len(self.reputation)), np.nan)
        for name in ("saddr", "daddr"):
            if name in batch.column_names:
                found = pc.fill_null(pc.index_in(batch.column(name).cast(pa.string()), value_set=listed), len(listed))
                worst = np.fmax(worst, values[found.to_numpy()])
        return np.clip(worst, 0, 100) / 100


def read_reputation(source: Reputation | None) -> dict[str, float]:
    """Return address -> 0 to 100 from a mapping, or from a table with ip_address and abuse_confidence_score.

    A row that is_whitelisted counts as 0. Raises ModelError when a column is missing.
    """
    if source is None:
        return {}
    if not isinstance(source, pa.Table):
        return dict(source)
    missing = {"ip_address", "abuse_confidence_score"} - set(source.column_names)
    if missing:
        raise ModelError(f"the reputation table lacks {', '.join(sorted(missing))}")
    addresses = source.column("ip_address").to_pylist()
    scores = source.column("abuse_confidence_score").to_pylist()
    good = (
        source.column("is_whitelisted").to_pylist()
        if "is_whitelisted" in source.column_names
        else [False] * len(scores)
    )
    rows = zip(addresses, scores, good, strict=True)
    return {address: 0.0 if white else float(score or 0) for address, score, white in rows if address}


def _merge(plain: Scored, share: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Put fingerprint and reputation among the histogram's reasons: (n, top) int16 and float32."""
    n, base = len(plain.raw), len(plain.fields)
    extra = np.broadcast_to(np.arange(base, base + len(EXTRA), dtype=np.int16), (n, len(EXTRA)))
    fields = np.concatenate((plain.reason_field, extra), axis=1)
    shares = np.concatenate((plain.reason_share * share[:, :1], share[:, 1:]), axis=1).astype(np.float32)
    shares[fields < 0] = 0
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    best = np.take_along_axis(shares, order, axis=1)
    return np.where(best > 0, np.take_along_axis(fields, order, axis=1), -1).astype(np.int16), best
