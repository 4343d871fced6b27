"""Contexts over the service: list, look, create, delete, reset, export, import, merge, and what was novel of late."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from tocsin.detector import dump_state
from tocsin.detectors.novelty.options import Options
from tocsin.errors import InputError, ModelError, SettingsError
from tocsin.jobs.context import ContextStatus, check_name
from tocsin.serve.asked import Asked, Nothing, SomeTime, Time, ago
from tocsin.serve.auth import needs
from tocsin.serve.novelty import Novelty, check_new
from tocsin.serve.novelty_openapi import describe_recent
from tocsin.serve.novelty_patterns import add_patterns
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.serve.recent import LEAST

Context = Annotated[
    str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the context.")
]
FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
describe = describe_recent


class BinsAsked(Asked):
    """How a numeric component becomes a category: by edges, or by quantiles learned from the first values."""

    edges: list[float] | None = Field(None, min_length=1, max_length=256)
    quantiles: int | None = Field(None, ge=2, le=256)


class OptionsAsked(Asked):
    """What a context may be told; what is not given is as for one that is created by its first use."""

    order: Literal["given", "auto"] = Field("given", description="auto: the order of the components does not matter.")
    fields: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field([], max_length=32)
    max_entries: int = Field(2_000_000, ge=1000, le=500_000_000, description="Table entries kept.")
    half_life: float | None = Field(None, ge=100, le=1e15, description="Observations.")
    half_life_s: float | None = Field(None, ge=1, le=1e12)
    window: int | None = Field(None, ge=100, le=10**15, description="Newest observations that count.")
    window_s: float | None = Field(None, ge=1, le=1e12)
    bins: dict[str, BinsAsked] = Field({}, max_length=32, description="Numeric components, by name or index.")
    warm_up: int = Field(1000, ge=0, le=10**12)


class ContextDocument(BaseModel):
    """What is known of a context. nbytes: memory; rate_per_s: observations, over the last minute."""

    name: str
    observed: int
    entries: int
    nbytes: int
    warm: bool
    rate_per_s: float
    length: int
    fields: list[str]
    order: str
    created: Time
    last_observed: Time | None
    feedbacks: int
    options: dict[str, Any]


class ContextList(BaseModel):
    """All contexts, by name."""

    contexts: list[ContextDocument]


class ValueCount(BaseModel):
    """A value and how often it was seen; not a whole number where old observations fade."""

    value: str
    count: float


class FieldTop(BaseModel):
    """The most frequent values of a component."""

    field: str
    values: list[ValueCount]


class Histogram(BaseModel):
    """How the scores of all observations lie: counts between edges."""

    edges: list[float]
    counts: list[int]


class ContextDetail(ContextDocument):
    """A context with its most frequent values and its scores."""

    top: list[FieldTop]
    histogram: Histogram


class Recently(BaseModel):
    """An observation that was novel, and when."""

    context: str
    at: Time
    result: dict[str, Any]


class RecentList(BaseModel):
    """The newest first."""

    observations: list[Recently]


class DetailQuery(Asked):
    """How much is shown."""

    most: int = Field(10, ge=0, le=100, description="Most values of each component.")


class OneRecentQuery(Asked):
    """Which of the novel observations; those of the last start or later, scored 0.9 or more, 500 of a context."""

    least: float = Field(LEAST, ge=0, le=1, description="Lowest score; below 0.9 nothing is kept.")
    most: int = Field(50, ge=1, le=500)
    since: SomeTime | None = None


class RecentQuery(OneRecentQuery):
    """Which of the novel observations, and of which context."""

    context: str | None = Field(None, max_length=64)


class ImportQuery(Asked):
    """Whether a context of this name is replaced."""

    replace: bool = False


class Source(Asked):
    """Whose knowledge is added. It stays as it is."""

    from_: str = Field(alias="from", max_length=64, min_length=1, description="Name of the other context.")


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/novelty", tags=["novelty"])
    novelty = Novelty.of(parts)
    _add_lists(router, novelty)
    _add_contexts(router, novelty)
    _add_files(router, novelty)
    add_patterns(router, novelty)
    return router


def _add_lists(router: APIRouter, novelty: Novelty) -> None:
    @router.get("", response_model=ContextList, dependencies=[needs("read")], summary="List contexts")
    async def listed(query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return every context: size, warm-up, rate, memory."""
        contexts = novelty.contexts
        return {"contexts": [_document(contexts.status(name)) for name in contexts.names()]}

    @router.get("/recent", response_model=RecentList, dependencies=[needs("read")], summary="What was novel, anywhere")
    async def recent(query: Annotated[RecentQuery, Query()]) -> Response:
        """Return the newest observations that scored high, newest first."""
        return _recent(novelty, query.context, query)

    @router.get("/{context}/recent", response_model=RecentList, dependencies=[needs("read")], summary="What was novel")
    async def recent_of_one(context: Context, query: Annotated[OneRecentQuery, Query()]) -> Response:
        """Return a context's newest observations that scored high, newest first."""
        novelty.contexts.status(context)
        return _recent(novelty, context, query)


def _add_contexts(router: APIRouter, novelty: Novelty) -> None:
    @router.get("/{context}", response_model=ContextDetail, dependencies=[needs("read")], summary="One context")
    async def one(context: Context, query: Annotated[DetailQuery, Query()]) -> dict[str, Any]:
        """Return a context's size, warm-up, rate and memory, its most frequent values and how its scores lie."""
        return _detail(novelty, context, query.most)

    @router.put(
        "/{context}",
        status_code=201,
        response_model=ContextDocument,
        dependencies=[needs("write")],
        summary="Create a context",
    )
    async def create(context: Context, options: OptionsAsked, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Create a context with options of its own. One that is there already is not changed: 409."""
        check_new(context)
        checked = _options(options)
        await novelty.change(lambda contexts: contexts.create(context, checked))
        return _document(novelty.contexts.status(context))

    @router.delete("/{context}", status_code=204, dependencies=[needs("write")], summary="Delete a context")
    async def delete(context: Context, query: Annotated[Nothing, Query()]) -> Response:
        """Delete a context with all that it learned."""
        await novelty.change(lambda contexts: contexts.delete(context))
        novelty.recent.forget(context)
        return Response(status_code=204)

    @router.post("/{context}/reset", response_model=ContextDocument, dependencies=[needs("write")], summary="Reset one")
    async def reset(context: Context, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Let a context forget all, feedback too; its options stay."""
        await novelty.change(lambda contexts: contexts.reset(context))
        novelty.recent.forget(context)
        return _document(novelty.contexts.status(context))


def _add_files(router: APIRouter, novelty: Novelty) -> None:
    @router.get(
        "/{context}/export",
        dependencies=[needs("read")],
        summary="Export",
        response_class=Response,
        responses={200: {"content": FILE, "description": "The file."}},
    )
    async def export(context: Context, query: Annotated[Nothing, Query()]) -> Response:
        """Return a context as one file, to be imported elsewhere or under another name: every score is the same."""
        state = novelty.contexts.model(context).state()
        data = await asyncio.to_thread(dump_state, state)  # packing takes a second for each million of entries
        headers = {"Content-Disposition": f'attachment; filename="{context}.novelty"'}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @router.post(
        "/{context}/import",
        status_code=201,
        response_model=ContextDocument,
        dependencies=[needs("write")],
        summary="Import",
        openapi_extra={"requestBody": {"required": True, "content": FILE}},
    )
    async def import_(context: Context, query: Annotated[ImportQuery, Query()], request: Request) -> dict[str, Any]:
        """Make a context of a file that export returned."""
        check_new(context)
        data = await request.body()
        try:
            await novelty.change(lambda contexts: contexts.import_(context, data, replace=query.replace))
        except (ModelError, InputError) as error:
            remedy = "send the bytes of GET /api/v1/novelty/{context}/export as they were"
            raise Problem(422, detail=str(error), field="body", remedy=remedy) from error
        return _document(novelty.contexts.status(context))

    @router.post("/{context}/merge", response_model=ContextDocument, dependencies=[needs("write")], summary="Merge")
    async def merge(context: Context, source: Source, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Add what another context learned; the counts are those of one that had seen both."""
        if source.from_ == context:
            raise Problem(422, detail="a context is not merged with itself", field="from", remedy="name another one")
        check_name(source.from_)
        await novelty.change(lambda contexts: contexts.merge(context, contexts.model(source.from_)))
        return _document(novelty.contexts.status(context))


def _recent(novelty: Novelty, context: str | None, query: OneRecentQuery) -> Response:
    since = ago(query.since, novelty.parts.clock.now(), "since")
    found = novelty.recent.newest(context, least=query.least, most=query.most, since=since)
    return Response(novelty.recent.as_json(found), media_type="application/json")


def _detail(novelty: Novelty, context: str, most: int) -> dict[str, Any]:
    status, model = novelty.contexts.status(context), novelty.contexts.model(context)
    edges, counts = model.histogram()
    names = status.fields or tuple(str(index) for index in range(status.length))
    top = [
        {"field": name, "values": [{"value": value, "count": count} for value, count in model.top(index, most)]}
        for index, name in enumerate(names if status.observed else ())
    ]
    histogram = {"edges": edges.tolist(), "counts": counts.tolist()}
    return _document(status) | {"top": top, "histogram": histogram}


def _document(status: ContextStatus) -> dict[str, Any]:
    times = {"created": status.created.isoformat(), "last_observed": None}
    if status.last_observed is not None:
        times["last_observed"] = status.last_observed.isoformat()
    plain = {name: value for name, value in vars(status).items() if name != "options"}
    return plain | {"fields": list(status.fields), "options": status.options.as_dict()} | times


def _options(asked: OptionsAsked) -> Options:
    try:
        return Options.of(asked.model_dump(exclude_unset=True, exclude_none=True))
    except SettingsError as error:
        field, _, detail = str(error).partition(": ")
        raise Problem(422, detail=detail, field=field, remedy="see /docs for what it may be") from error
