"""The novelty routes that programs call all day: observe and read, one observation or many.

They are plain ASGI endpoints: on one core an empty FastAPI endpoint with a body model answers a third as many requests.
The OpenAPI document describes them through novelty_openapi.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.rows import Row, as_rows
from tocsin.detectors.novelty.scores import Scores
from tocsin.errors import InputError
from tocsin.serve.arrow import stream_of, stream_of_none
from tocsin.serve.auth import check
from tocsin.serve.batches import ARRAY_OR_STREAM, Batch, Lengths, batch_of
from tocsin.serve.incoming import (
    ARROW,
    JSON,
    NDJSON,
    Receive,
    Scope,
    body_of,
    body_type,
    flag,
    header,
    json_of,
    list_of,
    number,
    query_of,
    refusal,
)
from tocsin.serve.novelty import Novelty, check_new
from tocsin.serve.novelty_openapi import describe_hot as describe
from tocsin.serve.novelty_stream import Lines, stream_lines
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.serve.transformation import Transformation

__all__ = ["describe", "direct", "routes"]

LARGE_BYTES = 512 * 1024
"""A body from this size on is read, and its answer written, in a thread, so that others are answered meanwhile."""

MOST_NEAREST = 20
MOST_KEY = 100
"""Characters of an idempotency key; the journal takes 255 bytes, and these make 214 with the number of a line."""
MOST_EXPLAINED = 100
"""Observations of a request for which the nearest are looked for: each costs a look at all that is known."""

_ONE: dict[str, Callable[[str], Any]] = {"nearest": number(1, MOST_NEAREST), "transformation": str}
_MANY: dict[str, Callable[[str], Any]] = {"partial": flag, **_ONE}
_AN_OBSERVATION = "a JSON array of texts, numbers, booleans or nulls"
_A_RECORD = "a JSON object, since a transformation is named"

_PREFIX = "/api/v1/novelty/{context}/"

Send = Callable[[Any], Awaitable[None]]
T = TypeVar("T")


def routes(parts: Parts) -> list[BaseRoute]:
    """Return the routes."""
    novelty = Novelty.of(parts)
    return [
        Route(f"{_PREFIX}{verb}{path}", kind(novelty, verb == "observe"), methods=["POST"])
        for verb in ("observe", "read")
        for path, kind in (("", One), ("/bulk", Many))
    ]


def direct(known: Iterable[BaseRoute]) -> Callable[[Scope], ASGIApp | None]:
    """Return what finds the endpoint of a request among these routes, without the layers of a web framework.

    A request that is not clearly for one of them goes the usual way. What the layers would do is done by the gate:
    whatever an endpoint raises becomes a problem document.
    """
    plain = [route for route in known if isinstance(route, Route)]
    ours = {route.path.removeprefix(_PREFIX): route for route in plain if isinstance(route.endpoint, _Endpoint)}

    def find(scope: Scope) -> ASGIApp | None:
        if scope["method"] != "POST":
            return None
        _, _, _, _, context, verb = (*scope["path"].split("/", 5), "", "", "", "")[:6]
        route = ours.get(verb)
        if route is None or not context or not scope["path"].startswith("/api/v1/novelty/"):
            return None
        scope["route"] = route
        scope["path_params"] = {"context": context}
        return route.app

    return find


@dataclass
class _Endpoint:
    """What both kinds of endpoints do first. learns: whether what is sent is learned."""

    novelty: Novelty
    learns: bool

    def _begin(self, scope: Scope) -> str:
        """Return the context that is asked for. Raises Problem."""
        caller = scope["state"].get("caller")
        if caller is None or not caller.may("score"):
            check(Request(scope), "score")  # it says what is missing
        context: str = scope["path_params"]["context"]
        check_new(context)
        return context

    def _key(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the request's idempotency key, '' for none; reading needs none. Raises Problem."""
        key = header(headers, b"idempotency-key") if self.learns else ""
        if len(key) > MOST_KEY:
            raise Problem(
                422,
                detail=f"an idempotency key has at most {MOST_KEY} characters, not {len(key)}",
                field="header.Idempotency-Key",
                remedy="send a shorter one, such as a UUID",
            )
        return key

    async def _transformation(self, query: dict[str, Any]) -> Transformation | None:
        name = query.get("transformation")
        return None if name is None else await self.novelty.transformations.get(name)

    async def _scores(
        self, context: str, columns: list[Any], key: str, nearest: int = 0
    ) -> tuple[Scores, list[list[Any]] | None]:
        """Return the scores of observations and, where asked for, what is known that is nearest to each."""
        near: list[list[Any]] | None = None

        def look() -> None:
            nonlocal near
            near = self.novelty.nearest(context, columns, nearest)

        if self.learns:
            before = look if nearest else None
            return await self.novelty.group.observe(context, columns, key or None, before), near
        scores = self.novelty.contexts.read(context, columns)
        if nearest:
            look()
        return scores, near


class One(_Endpoint):
    """One observation in, its result out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        context = self._begin(scope)
        query = query_of(scope, _ONE)
        headers = dict(scope["headers"])
        body_type(headers, JSON)
        body = await body_of(receive)
        try:
            result = await self._result(context, body, query, self._key(headers))
        except InputError as error:
            raise refusal(error, single=True) from error
        await answer(send, orjson.dumps(result))

    async def _result(self, context: str, body: bytes, query: dict[str, Any], key: str) -> Row | None:
        if query and (transformation := await self._transformation(query)):
            columns = await self._columns_of_record(transformation, body)
            if columns is None:
                return None
        else:
            observation = list_of(body, _AN_OBSERVATION)
            if self.learns and not key and "nearest" not in query:
                return await self.novelty.group.observe_one(context, observation)
            columns = columns_of([observation])
        scores, near = await self._scores(context, columns, key, query.get("nearest", 0))
        row = as_rows(scores)[0]
        return row if near is None else {**row, "nearest": near[0]}

    async def _columns_of_record(self, transformation: Transformation, body: bytes) -> list[Any] | None:
        """Return the columns of one record's observation, None where `where` leaves it out. Raises Problem."""
        record = json_of(body, _A_RECORD)
        picked = await self.novelty.sql.run(transformation.apply, [record])
        if picked.wrong:
            problem = picked.wrong[0]
            problem.told["field"] = "body"
            raise problem
        return picked.columns if len(picked.places) else None


class Many(_Endpoint):
    """Many observations in, a result for each out, in order."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        context = self._begin(scope)
        query = query_of(scope, _MANY)
        headers = dict(scope["headers"])
        kind = body_type(headers, *ARRAY_OR_STREAM)
        key = self._key(headers)
        transformation = await self._transformation(query)
        lengths = Lengths(partial=query.get("partial", False), known=lambda: self.novelty.length_of(context))
        nearest = query.get("nearest", 0)
        if kind == NDJSON and lengths.partial:
            if not self.learns:
                self.novelty.contexts.model(context)  # it must be there before the answer begins

            async def results(lines: Lines) -> bytes:
                first = lines.first
                batch = await self._batch(NDJSON, lines.whole, transformation, lengths, first)
                return await self._answer(context, batch, NDJSON, f"{key}#{first}" if key else "", nearest)

            await stream_lines(receive, send, results)
            return
        body = await body_of(receive)
        batch = await self._batch(kind, body, transformation, lengths)
        await answer(send, await self._answer(context, batch, kind, key, nearest), kind)

    async def _batch(
        self, kind: str, body: bytes, transformation: Transformation | None, lengths: Lengths, first: int = 0
    ) -> Batch:
        """Read observations; those that SQL makes of records where SQL cannot hold up anything else."""
        if transformation is None:
            return await _aside(len(body), batch_of, kind, body, None, lengths, first)
        records = body.count(b"{")  # at most
        return await self.novelty.sql.run(batch_of, kind, body, transformation, lengths, first, records=records)

    async def _answer(self, context: str, batch: Batch, kind: str, key: str, nearest: int) -> bytes:
        if nearest and len(batch.places) > MOST_EXPLAINED:
            raise Problem(
                422,
                detail=f"{len(batch.places)} observations are too many to look for the nearest of each",
                field="query.nearest",
                remedy=f"ask for it with {MOST_EXPLAINED} observations at most, or leave it out",
            )
        if not len(batch.places):
            return await _aside(0, _written, batch, None, None, kind)
        try:
            scores, near = await self._scores(context, batch.columns, key, nearest)
        except InputError as error:
            raise refusal(error) from error
        return await _aside(batch.size_bytes, _written, batch, scores, near, kind)


async def answer(send: Send, data: bytes, kind: str = JSON) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def _written(batch: Batch, scores: Scores | None, near: list[list[Any]] | None, kind: str) -> bytes:
    """Return the answer's body."""
    if kind == ARROW:
        return stream_of(scores) if scores is not None else stream_of_none(len(batch.columns))
    rows = as_rows(scores) if scores is not None else []
    if near is not None:
        rows = [{**row, "nearest": each} for row, each in zip(rows, near, strict=True)]
    whole = batch.in_order(rows)
    if kind == JSON:
        return orjson.dumps(whole)
    return b"".join(orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in whole)


async def _aside(size_bytes: int, call: Callable[..., T], *given: Any) -> T:
    """Call something that takes long where what it works on is large: in a thread then."""
    if size_bytes < LARGE_BYTES:
        return call(*given)
    return await asyncio.to_thread(call, *given)
