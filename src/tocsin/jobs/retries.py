"""Answers that were given, by idempotency key, so that a request that is sent again counts once."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from tocsin.cluster.wire import Frame, frame
from tocsin.detectors.novelty.scores import Scores
from tocsin.errors import InputError

MOST_KEY_BYTES = 255
_NUMBERS = tuple(each.name for each in fields(Scores) if each.name != "columns")
_OVERHEAD_BYTES = 2000
"""Of an answer's arrays as objects, besides their content."""


@dataclass(frozen=True)
class Answer:
    """What a request with a key was answered; digest: of its content."""

    context: int
    key: bytes
    digest: bytes
    scores: Scores

    @property
    def nbytes(self) -> int:
        """Bytes held, about."""
        numbers: int = sum(getattr(self.scores, name).nbytes for name in _NUMBERS)
        texts: int = sum(column.nbytes for column in self.scores.columns)
        return _OVERHEAD_BYTES + len(self.key) + numbers + texts


def checked_key(key: str | None) -> bytes:
    """Return a key as bytes, none as no bytes. Raises InputError."""
    if key is None:
        return b""
    data = key.encode("utf-8", "replace")
    if not 0 < len(data) <= MOST_KEY_BYTES:
        raise InputError(f"an idempotency key has 1 to {MOST_KEY_BYTES} bytes, not {len(data)}")
    return data


class Retries:
    """The last answers, the oldest forgotten first; bounded in number and bytes."""

    def __init__(self, most: int = 10_000, most_bytes: int = 64 << 20) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._answers: OrderedDict[tuple[int, bytes], Answer] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._answers.values())

    def find(self, context: int, key: bytes, content: bytes | memoryview) -> Scores | None:
        """Return the first answer to this request. Raises InputError when the key belongs to other content."""
        answer = self._answers.get((context, key))
        if answer is None:
            return None
        if answer.digest != digest_of(content):
            raise InputError(
                f"the idempotency key {key.decode()!r} was used for other observations; a new request needs a new key"
            )
        return answer.scores

    def keep(self, answer: Answer) -> None:
        """Keep an answer, and let the oldest go when there are too many."""
        self._answers[answer.context, answer.key] = answer
        self.nbytes += answer.nbytes
        while len(self._answers) > self._most or self.nbytes > self._most_bytes:
            _, oldest = self._answers.popitem(last=False)
            self.nbytes -= oldest.nbytes

    def drop(self, context: int) -> None:
        """Forget a context's answers."""
        for key in [key for key in self._answers if key[0] == context]:
            self.nbytes -= self._answers.pop(key).nbytes


def digest_of(content: bytes | memoryview) -> bytes:
    """Return what tells contents apart."""
    return blake2b(content, digest_size=16).digest()


def rows_of(scores: Scores, start: int, stop: int) -> Scores:
    """Return rows as scores of their own, which do not hold on to the rest."""
    columns = [column.take(pa.array(np.arange(start, stop))) for column in scores.columns]
    return Scores(columns, **{name: getattr(scores, name)[start:stop].copy() for name in _NUMBERS})


def pack(answers: Iterable[Answer]) -> list[Frame]:
    """Return answers as frames, one for each number of components."""
    lengths: dict[int, list[Answer]] = {}
    for answer in answers:
        lengths.setdefault(len(answer.scores.columns), []).append(answer)
    return [_packed(each) for each in lengths.values()]


def _packed(answers: list[Answer]) -> Frame:
    scores = Scores.joined([answer.scores for answer in answers])
    about = [
        pa.array([answer.context for answer in answers], pa.int64()),
        pa.array([len(answer.scores) for answer in answers], pa.int64()),
        pa.array([answer.key for answer in answers], pa.binary()),
        pa.array([answer.digest for answer in answers], pa.binary()),
    ]
    columns = pa.table(list(scores.columns), [str(index) for index in range(len(scores.columns))])
    numbers = {name: getattr(scores, name) for name in _NUMBERS}
    about_table = pa.table(about, ["context", "rows", "key", "digest"])
    return frame({}, {"answers": about_table, "columns": columns, **numbers})


def unpack(packed: Frame) -> Iterator[Answer]:
    """Yield what `pack` made a frame of. Raises FrameError."""
    table = packed.part("columns")
    columns = [column.combine_chunks() for column in table.columns]
    scores = Scores(columns, **{name: packed.part(name) for name in _NUMBERS})
    start = 0
    for row in packed.part("answers").to_pylist():
        stop = start + row["rows"]
        yield Answer(row["context"], row["key"], row["digest"], rows_of(scores, start, stop))
        start = stop
