"""Kinds of observations over the service: call them normal, take that back, forget them, look for the nearest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from tocsin.detectors.novelty.components import columns_of, text_of
from tocsin.detectors.novelty.feedback import Feedback
from tocsin.detectors.novelty.pattern import Part, Range
from tocsin.errors import InputError, NotFoundError
from tocsin.records.times import from_us
from tocsin.serve.asked import Asked, Nothing, Text, Time
from tocsin.serve.auth import needs, who
from tocsin.serve.incoming import refusal
from tocsin.serve.novelty import Novelty
from tocsin.serve.problems import Problem

Context = Annotated[
    str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the context.")
]
FeedbackId = Annotated[str, Path(max_length=64, description="As the feedback was answered.")]
Value = Annotated[StrictStr, Field(max_length=65_536)] | StrictInt | StrictFloat | StrictBool


class RangeAsked(Asked):
    """Values from low to high, both included; numbers compare as numbers, others as text."""

    low: Value | None = None
    high: Value | None = None


class PatternAsked(Asked):
    """A kind of observations: a part for each component, null for any value, a value, or a range of them."""

    pattern: list[Value | RangeAsked | None] = Field(
        min_length=1, max_length=32, examples=[["tcp", None, {"low": 1024, "high": 65535}]]
    )


class FeedbackAsked(Asked):
    """What is normal: a value for each component, null for any. strength: the part of its surprise taken away."""

    observation: list[Value | None] = Field(min_length=1, max_length=32, examples=[["tcp", "443", None]])
    strength: float = Field(0.9, gt=0, le=1)
    note: Text = ""


class FeedbackDocument(BaseModel):
    """What somebody called normal."""

    id: str
    observation: list[str | None]
    strength: float
    at: Time
    by: str
    note: str


class FeedbackList(BaseModel):
    """Everything that was called normal in a context and not taken back."""

    feedbacks: list[FeedbackDocument]


class Forgotten(BaseModel):
    """How many observations were forgotten."""

    forgotten: int


class NearestAsked(Asked):
    """An observation, and how many known ones are wanted."""

    observation: list[Value | None] = Field(min_length=1, max_length=32)
    most: int = Field(3, ge=1, le=20)


class KnownDocument(BaseModel):
    """An observation that is known: how often it was seen, and which components the one asked about has otherwise."""

    observation: list[str]
    count: float
    differs: list[int]


class NearestList(BaseModel):
    """The nearest first."""

    nearest: list[KnownDocument]


def add_patterns(router: APIRouter, novelty: Novelty) -> None:
    """Add the routes below a context."""

    @router.post("/{context}/forget", response_model=Forgotten, dependencies=[needs("write")], summary="Forget")
    async def forget(context: Context, asked: PatternAsked, query: Annotated[Nothing, Query()]) -> dict[str, int]:
        """Unlearn observations of a kind, as if they had never been seen."""
        pattern = [_part(part, index) for index, part in enumerate(asked.pattern)]
        with _about("pattern"):
            return {"forgotten": await novelty.change(lambda contexts: contexts.forget(context, pattern))}

    @router.post(
        "/{context}/feedback",
        status_code=201,
        response_model=FeedbackDocument,
        dependencies=[needs("write")],
        summary="Call a kind of observation normal",
    )
    async def feedback(
        context: Context, asked: FeedbackAsked, request: Request, query: Annotated[Nothing, Query()]
    ) -> dict[str, Any]:
        """Lower the score of a kind of observation, until that is taken back."""
        pattern = [None if part is None else text_of(part, f"[{i}]") for i, part in enumerate(asked.observation)]
        by = who(request).name
        with _about("observation"):
            given = await novelty.change(
                lambda contexts: contexts.feedback(context, pattern, asked.strength, by=by, note=asked.note)
            )
        return _document(given)

    @router.get("/{context}/feedback", response_model=FeedbackList, dependencies=[needs("read")], summary="List them")
    async def feedbacks(context: Context, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return what was called normal."""
        return {"feedbacks": [_document(each) for each in novelty.contexts.model(context).feedbacks.values()]}

    @router.delete(
        "/{context}/feedback/{feedback_id}",
        response_model=FeedbackDocument,
        dependencies=[needs("write")],
        summary="Take a feedback back",
    )
    async def undo(context: Context, feedback_id: FeedbackId, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Let scores be as if this had never been called normal."""
        given = novelty.contexts.model(context).feedbacks.get(feedback_id)
        if given is None:
            raise NotFoundError(f"there is no feedback {feedback_id!r} in the context {context!r}")
        await novelty.change(lambda contexts: contexts.undo(context, feedback_id))
        return _document(given)

    @router.post("/{context}/nearest", response_model=NearestList, dependencies=[needs("score")], summary="Nearest")
    async def nearest(context: Context, asked: NearestAsked, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return what is known that has most in common with an observation: what would have been usual."""
        novelty.contexts.status(context)
        try:
            found = novelty.nearest(context, columns_of([asked.observation]), asked.most)
        except InputError as error:
            raise refusal(error, single=True) from error
        return {"nearest": found[0]}


@contextmanager
def _about(field: str) -> Iterator[None]:
    """Let what is wrong with a kind of observations name the field that it stood in."""
    try:
        yield
    except InputError as error:
        detail, _, remedy = str(error).partition("; ")
        remedy = remedy or "give a part for each component, null for any value"
        raise Problem(422, detail=detail, field=field, remedy=remedy) from error


def _part(part: Any, index: int) -> Part:
    if part is None:
        return None
    if not isinstance(part, RangeAsked):
        return text_of(part, f"[{index}]")
    low, high = (None if bound is None else text_of(bound, f"[{index}]") for bound in (part.low, part.high))
    return Range(low, high)


def _document(feedback: Feedback) -> dict[str, Any]:
    return {
        "id": feedback.id,
        "observation": list(feedback.pattern),
        "strength": feedback.strength,
        "at": from_us(feedback.at_us).isoformat(),
        "by": feedback.by,
        "note": feedback.note,
    }
