"""The table detector: rows unlike the rest, with the fields that make them so."""

from collections.abc import Iterable
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa

from tocsin.detector import BatchDetector, Scored, State
from tocsin.detectors.outlier.autoencoder import Autoencoder
from tocsin.detectors.outlier.features import FieldSpec, Normaliser
from tocsin.detectors.outlier.hbos import Hbos
from tocsin.detectors.outlier.hybrid import WEIGHTS, Fingerprints, Hybrid, Reputation, read_reputation
from tocsin.detectors.outlier.iforest import IsolationForest
from tocsin.detectors.outlier.rowsample import RowSample
from tocsin.errors import ModelError

MIN_ROWS = 2


class Algorithm(Protocol):
    """What scores the rows of a batch, fitted on a sample of rows whose fields are known."""

    normaliser: Normaliser

    def score(self, batch: pa.Table, top: int, threads: int) -> Scored:
        """Score each row, with its `top` reasons."""
        ...

    def state(self) -> State:
        """Return what was learned beside the fields."""
        ...


ALGORITHMS: dict[str, type[Hbos] | type[IsolationForest] | type[Autoencoder] | type[Hybrid]] = {
    "hbos": Hbos,
    "iforest": IsolationForest,
    "autoencoder": Autoencoder,
    "hybrid": Hybrid,
}


class OutlierDetector(BatchDetector):
    """Finds rows of any table that are unlike the rows it was fitted on.

    Reading the score: higher is more unusual; with `hbos` it is in bits, 0 being a usual row (`hbos.py` has the
    equation), with `iforest` 0.5 to 1, with `autoencoder` 1 is usual, with `hybrid` 0 to 1. Each row's reasons are the
    fields that contributed most, with their share of what speaks against the row.

    Cold start: fitting needs two rows to run and some hundreds to mean anything; there is no score before. Missing
    values: a null is a value of its own, unusual where it was; a missing column is null in every row. Unseen values get
    the share that values seen once have in all.

    Cost: fitting reads the data once and keeps 512 KiB a numeric field and 50,000 rows; `hbos` scores some millions of
    rows of 38 fields a second. The score of a row depends neither on its batch nor on the number of threads.

    References: Goldstein and Dengel 2012 (HBOS); Pevný 2016 (LODA); Liu, Ting, Zhou 2008 (isolation forest).

    Example:
        >>> import pyarrow as pa
        >>> normal = pa.table({"bytes": [500.0, 510, 490, 505] * 50, "service": ["http", "dns", "dns", "http"] * 50})
        >>> model = OutlierDetector().fit([normal])
        >>> odd = pa.table({"bytes": [500.0, 9e9], "service": ["http", "http"]})
        >>> scored = model.score(odd)
        >>> scored.fields[scored.reason_field[1, 0]], bool(scored.raw[1] > scored.raw[0])
        ('bytes', True)
    """

    name: ClassVar[str] = "outlier"
    format: ClassVar[int] = 1

    def __init__(
        self,
        algorithm: str = "hbos",
        *,
        fields: list[FieldSpec] | None = None,
        num_bins: int = 10,
        histogram_type: str = "quantile",
        ipv4_prefix: int = 24,
        ipv6_prefix: int = 48,
        ip_hash_modulus: int = 65536,
        seed: int = 0,
        top_reasons: int = 3,
        threads: int = 2,
        normaliser: Normaliser | None = None,
        fingerprints: Fingerprints | None = None,
        reputation: Reputation | None = None,
        weights: tuple[float, float, float] | None = None,
    ) -> None:
        """Set up; with a `normaliser` the fields are taken as already learned, narrowed to `fields` where given."""
        if algorithm not in ALGORITHMS:
            raise ModelError(f"algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")
        self.algorithm = algorithm
        self.fingerprints = fingerprints
        self.reputation = reputation
        self.weights = weights or WEIGHTS
        self.top_reasons = top_reasons
        self.threads = threads
        self._seed = seed
        self._given = normaliser.select(fields or normaliser.fields) if normaliser else None
        self._normaliser = self._given or Normaliser(
            fields,
            num_bins=num_bins,
            histogram_type=histogram_type,
            ipv4_prefix=ipv4_prefix,
            ipv6_prefix=ipv6_prefix,
            ip_hash_modulus=ip_hash_modulus,
            seed=seed,
        )
        self._fitted: Algorithm | None = None

    @property
    def normaliser(self) -> Normaliser:
        """What is learned of each field."""
        return self._normaliser

    def fit(self, batches: Iterable[pa.Table] | pa.Table) -> "OutlierDetector":
        """Learn what is normal, reading every batch once; a table by itself is one batch.

        Raises ModelError when there are fewer than two rows, or when none of the fields is in them.
        """
        sample = self._read([batches] if isinstance(batches, pa.Table) else batches)
        if sample.num_rows < MIN_ROWS:
            raise ModelError(f"{sample.num_rows} rows are too few to learn from; at least {MIN_ROWS} are needed")
        self._fitted = ALGORITHMS[self.algorithm].fit(self._normaliser, sample, self._seed)
        self._normaliser.sample = None
        return self

    def _read(self, batches: Iterable[pa.Table]) -> pa.Table:
        if self._given is None:
            fresh = self._normaliser.fit(batches)
            assert fresh.sample is not None
            return fresh.sample
        kept = RowSample(seed=self._seed)
        names = set(self._given.names)
        for batch in batches:
            kept.add(batch.select([name for name in batch.column_names if name in names]))
        return kept.table()

    def score(self, batch: pa.Table) -> Scored:
        """Score each row. Raises ModelError before `fit`, or when the batch has none of the fields."""
        fitted = self._ready()
        if isinstance(fitted, Hybrid):
            fitted.fingerprints = self.fingerprints
            fitted.reputation = read_reputation(self.reputation)
            fitted.weights = self.weights
        if batch.num_rows == 0:
            return _nothing(fitted.normaliser.names, self.top_reasons)
        return fitted.score(batch, self.top_reasons, self.threads)

    def expected(self, field_name: str) -> str:
        """Say in words what is normal for a field; '' for a name that is no field."""
        if field_name == "fingerprint":
            return "fingerprints seen before on this host"
        if field_name == "reputation":
            return "no address of bad reputation"
        return self._normaliser.expected(field_name)

    def state(self) -> State:
        """Return what was learned. Raises ModelError before `fit`."""
        parts = {"fields": self._ready().normaliser.state(), "algorithm": self._ready().state()}
        state: State = {"format": self.format, "name": self.name, "algorithm": self.algorithm, "seed": self._seed}
        state["weights"] = list(self.weights)
        return state | {f"{part}.{key}": value for part, own in parts.items() for key, value in own.items()}

    def restore(self, state: State) -> "OutlierDetector":
        """Take over a state, its algorithm included. Raises ModelError when it is of another format or incomplete."""
        if state.get("format") != self.format:
            raise ModelError(f"this model has format {state.get('format')!r}, not {self.format}; train again")
        if state.get("algorithm") not in ALGORITHMS:
            raise ModelError(f"this model's algorithm {state.get('algorithm')!r} is none of {', '.join(ALGORITHMS)}")
        fields, own = (_part(state, name) for name in ("fields", "algorithm"))
        self.algorithm = str(state["algorithm"])
        self._normaliser = Normaliser.restore(fields)
        self._fitted = ALGORITHMS[self.algorithm].restore(own, self._normaliser)
        self.weights = tuple(state.get("weights", WEIGHTS))
        return self

    def _ready(self) -> Algorithm:
        if self._fitted is None:
            raise ModelError("the detector has learned nothing yet; fit or restore it first")
        return self._fitted


def _part(state: State, name: str) -> State:
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


def _nothing(names: list[str], top: int) -> Scored:
    return Scored(np.empty(0), names, np.empty((0, top), np.int16), np.empty((0, top), np.float32))
