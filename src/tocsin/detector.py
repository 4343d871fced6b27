"""The detector contract: what fits, scores and can be kept.

A detector scores; it does not decide. Thresholds, severity, suppression and de-duplication live in the verdict.
Higher is more anomalous. `score` never changes state. State is a dict of arrays and scalars, never a pickle.
"""

import io
import json
import struct
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pyarrow as pa

from tocsin.errors import ModelError

DETECTORS = {
    "outlier": "tocsin.detectors.outlier.detector:OutlierDetector",
    "hosts": "tocsin.detectors.outlier.hosts:HostDetector",
}

STREAM_DETECTORS = {
    "novelty": "tocsin.detectors.novelty.model:NoveltyModel",
}

State = dict[str, Any]


@dataclass(frozen=True)
class Scored:
    """The scores of one batch, with the parts that made them.

    raw: (n,) float64, the detector's own scale, higher is more anomalous.
    fields: names that `reason_field` points into.
    reason_field: (n, k) int16, the k fields that contributed most, in order; -1 where there are fewer.
    reason_share: (n, k) float32, each one's share of the raw score, 0 to 1.
    """

    raw: np.ndarray
    fields: list[str]
    reason_field: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int16))
    reason_share: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))


class BatchDetector(ABC):
    """Learns from batches of one record kind, then scores batches."""

    name: ClassVar[str]
    format: ClassVar[int]

    @abstractmethod
    def fit(self, batches: Iterable[pa.Table]) -> "BatchDetector":
        """Learn what is normal, reading every batch once. Raises ModelError when there is too little to learn from."""

    @abstractmethod
    def score(self, batch: pa.Table) -> Scored:
        """Score each row; row i of the result is row i of the batch."""

    @abstractmethod
    def expected(self, field_name: str) -> str:
        """Say in words what is normal for a field, for a finding's reasons."""

    @abstractmethod
    def state(self) -> State:
        """Return what was learned: arrays, numbers, strings and lists of strings, with `format`."""

    @abstractmethod
    def restore(self, state: State) -> "BatchDetector":
        """Take over a state. Raises ModelError when it is of another format or incomplete."""


class Observed(Protocol):
    """What a stream detector says of n rows; it may say more."""

    @property
    def raw(self) -> np.ndarray:
        """The detector's own scale, higher is more anomalous: (n,) float64."""
        ...

    @property
    def score(self) -> np.ndarray:
        """Calibrated on the detector's own history: (n,) float64 in [0, 1]."""
        ...


class StreamDetector(ABC):
    """Learns as it observes. A batch is one array a component, all of one length, in the order of arrival.

    How rows are dealt into batches changes nothing. `mergeable`: whether `merge` gives what one that had seen both
    would know.
    """

    name: ClassVar[str]
    format: ClassVar[int]
    mergeable: ClassVar[bool] = False

    @abstractmethod
    def observe(self, columns: Sequence[pa.Array], time_us: int | np.ndarray | None = None) -> Observed:
        """Score rows in order and learn each. time_us: when, microseconds since 1970, where that matters.

        Raises InputError, and learns nothing, when the columns do not fit.
        """

    @abstractmethod
    def score(self, columns: Sequence[pa.Array]) -> Observed:
        """Score rows as of now, without learning."""

    def merge(self, other: Self) -> None:
        """Learn all that another knows. Raises InputError when the two do not fit."""
        raise NotImplementedError(f"{self.name} is not mergeable")

    @abstractmethod
    def state(self) -> State:
        """Return what was learned: arrays, numbers, strings and lists of strings, with `format`."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Take over a state. Raises ModelError when it is of another format or incomplete."""


def load_class(table: dict[str, str], name: str) -> Any:
    """Return the class that a registry names, importing it now. Raises KeyError for an unknown name."""
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def dump_state(state: State, *, compressed: bool = True) -> bytes:
    """Write a state as an .npz archive: arrays as they are, everything else in one JSON member. No pickle.

    Not compressed it is larger and written many times faster: for what is written often.
    """
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    rest = {key: value for key, value in state.items() if key not in arrays}
    for key, array in arrays.items():
        if array.dtype == object:
            raise ModelError(f"state member {key!r} is an array of objects; keep strings as a list")
    buffer = io.BytesIO()
    document = np.frombuffer(json.dumps(rest, sort_keys=True).encode(), np.uint8)
    write = np.savez_compressed if compressed else np.savez
    write(buffer, allow_pickle=False, __json__=document, **arrays)
    return buffer.getvalue()


_DAMAGED = (
    *(ValueError, TypeError, KeyError, AttributeError, OSError, EOFError, MemoryError, OverflowError, SyntaxError),
    # Encryption and compressions that zipfile does not know are RuntimeError, as is JSON that is nested too deeply.
    *(RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def load_state(data: bytes) -> State:
    """Read what dump_state wrote. Raises ModelError when it is damaged or something else."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            state: State = {key: archive[key] for key in archive.files if key != "__json__"}
            state.update(json.loads(archive["__json__"].tobytes()))
    except _DAMAGED as error:
        # numpy's own words would recommend unpickling.
        raise ModelError("this is no tocsin model state, or it is damaged") from error
    return state
