"""Bulk bodies: a JSON array, JSON lines or an Arrow stream, as columns, with what is wrong in its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tocsin.detectors.novelty.components import columns_of
from tocsin.errors import InputError
from tocsin.serve.arrow import columns_of_stream
from tocsin.serve.incoming import ARROW, JSON, NDJSON, check_count, lines_of, list_of, refusal
from tocsin.serve.problems import Problem
from tocsin.serve.transformation import Transformation

ARRAY_OR_STREAM = (JSON, NDJSON, ARROW)
_OBSERVATIONS = "a JSON array of observations, each an array of texts, numbers, booleans or nulls"
_RECORDS = "a JSON array of records, each an object"


@dataclass
class Lengths:
    """How many components observations must have. partial: whether those that have others are set aside, not all.

    known: gives the context's own length, 0 while it has none; then the first good observation's counts.
    """

    partial: bool
    known: Callable[[], int]


@dataclass(frozen=True)
class Batch:
    """The observations of a body.

    count: results that are wanted. places: of the good observations among them. columns: the good observations.
    wrong: what is wrong with others, by place; what is in neither was left out by its transformation.
    """

    count: int
    places: Sequence[int]
    columns: list[pa.Array]
    wrong: Mapping[int, Problem] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """About how large the JSON of its results is."""
        return 400 * len(self.places)

    def in_order(self, results: Sequence[Any]) -> list[Any]:
        """Return results at the places of the good, what is wrong at the others; None where there is neither."""
        if len(self.places) == self.count:
            return [*results]
        whole: list[Any] = [None] * self.count
        for place, result in zip(self.places, results, strict=True):
            whole[place] = result
        for place, problem in self.wrong.items():
            whole[place] = {"error": problem.to_dict()}
        return whole


def batch_of(kind: str, body: bytes, transformation: Transformation | None, lengths: Lengths, first: int = 0) -> Batch:
    """Read a body of one of the three kinds. first: how many observations came before it, for messages.

    Raises Problem when it cannot be read at all and, unless `partial`, when anything in it is wrong.
    """
    if kind == ARROW:
        if transformation is not None or lengths.partial:
            name = "transformation" if transformation is not None else "partial"
            raise Problem(422, detail=f"{name} is not for Arrow streams", field=f"query.{name}", remedy="leave it out")
        columns = columns_of_stream(body)
        return Batch(len(columns[0]), range(len(columns[0])), columns)
    values, wrong = _values(kind, body, transformation, first)
    if wrong and not lengths.partial:
        raise wrong[min(wrong)]
    if transformation is not None:
        return _transformed(values, wrong, transformation, lengths, first)
    if not lengths.partial:
        try:
            return Batch(len(values), range(len(values)), columns_of(values) if values else [])
        except InputError as error:
            raise refusal(error, first=first) from error
    return _good_ones(values, wrong, lengths, first)


def _values(
    kind: str, body: bytes, transformation: Transformation | None, first: int
) -> tuple[list[Any], dict[int, Problem]]:
    if kind == NDJSON:
        lines = [line for line in body.split(b"\n") if line]
        check_count(len(lines))
        return lines_of(lines, first)
    values = list_of(body, _RECORDS if transformation else _OBSERVATIONS)
    check_count(len(values))
    return values, {}


def _good_ones(values: list[Any], wrong: dict[int, Problem], lengths: Lengths, first: int) -> Batch:
    """Return those observations that can be learned, with what is wrong with the others."""
    length = lengths.known()
    if values and not wrong and isinstance(values[0], list) and length in (0, len(values[0])):
        try:
            return Batch(len(values), range(len(values)), columns_of(values))
        except InputError:
            pass  # which ones are wrong is found out below, one by one
    good: list[int] = []
    for place, value in enumerate(values):
        if place in wrong:
            continue
        problem = _problem(value, length, first + place)
        if problem is None:
            good.append(place)
            length = length or len(value)
        else:
            wrong[place] = problem
    return Batch(len(values), good, columns_of([values[place] for place in good]) if good else [], wrong)


def _problem(value: Any, length: int, number: int) -> Problem | None:
    """Return what is wrong with an observation, None for nothing. number: which one it is, for the message."""
    try:
        columns_of([value])
    except InputError as error:
        return refusal(error, first=number)
    return _other_length(len(value), length, number) if length not in (0, len(value)) else None


def _other_length(found: int, length: int, number: int) -> Problem:
    return Problem(
        422,
        detail=f"it has {found} components, this context's observations have {length}",
        field=f"[{number}]",
        remedy=f"send {length} components, or choose another context",
    )


def _transformed(
    values: list[Any], wrong: dict[int, Problem], transformation: Transformation, lengths: Lengths, first: int
) -> Batch:
    readable = [place for place in range(len(values)) if place not in wrong]
    picked = transformation.apply([values[place] for place in readable])
    for at, problem in sorted(picked.wrong.items()):
        problem.told["field"] = f"[{first + readable[at]}]"
        if not lengths.partial:
            raise problem
        wrong[readable[at]] = problem
    places = [readable[at] for at in picked.places.tolist()]
    length = lengths.known()
    if lengths.partial and length not in (0, len(picked.columns)):
        problems = {place: _other_length(len(picked.columns), length, first + place) for place in places}
        return Batch(len(values), [], [], wrong | problems)
    return Batch(len(values), places, picked.columns, wrong)
