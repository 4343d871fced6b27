"""Errors as RFC 9457 problem documents: what is wrong, where, and what to do; never a traceback.

    {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "…", "field": "…", "remedy": "…"}

`field` and `remedy` are there when they say something. A validation error with several faults lists them in `errors`.
"""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.errors import (
    ConflictError,
    InputError,
    LedgerError,
    NotFoundError,
    SettingsError,
    TocsinError,
)

MEDIA_TYPE = "application/problem+json"
STATUSES: tuple[tuple[type[TocsinError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (InputError, 422),
    (SettingsError, 422),
)
"""What an error of tocsin is to a client; all others are 503: store, ledger or another part cannot be used."""

PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Titles as RFC 9110 has them; Python had older ones until 3.13."""

SEE_DOCS = "see /docs for what it may be"
"""The remedy where there is none that says more."""

MOST_FAULTS = 20
"""A body may have a million faults; so many are told."""

log = logging.getLogger("tocsin.serve")


class Problem(HTTPException):
    """A refusal. Raise it from a route, a dependency or a middleware.

    It is an HTTPException so that FastAPI lets it pass where it takes other errors for unreadable bodies.

    field: what of the request is wrong, as a path: `observation`, `[3].observation`, `query.limit`.
    remedy: what to do. headers: further headers of the answer. more: further members of the document.
    """

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        *,
        field: str = "",
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.title = title or PHRASES.get(status) or HTTPStatus(status).phrase
        self.told = {"detail": detail, "field": field, "remedy": remedy}
        self.more = dict(more or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the document."""
        head = {"type": "about:blank", "title": self.title, "status": self.status_code}
        return head | {name: text for name, text in self.told.items() if text} | self.more

    def response(self) -> Response:
        """Return the answer."""
        return Response(_written(self.to_dict()), self.status_code, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Return what is told of an error; one that nobody expected is logged, and only its number is told."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TocsinError):
        return _of_tocsin(error)
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors())
    number = secrets.token_hex(6)
    log.error("error %s while answering: %s", number, error, exc_info=error)
    return Problem(
        500,
        detail="something went wrong that should not have",
        remedy=f"look for error {number} in the service's log, and report it",
        more={"error": number},
    )


def add_problems(app: FastAPI) -> None:
    """Let every error of the routes become a problem document."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status_code == 405 and (methods := _methods(app, getattr(request.scope.get("route"), "path", ""))):
            problem.headers = {"Allow": ", ".join(methods)}
        return problem.response()

    for kind in (TocsinError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return every method of a path, as it was declared: a route knows its own alone."""
    return sorted(method.upper() for method in app.openapi()["paths"].get(path, {}))


def _written(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=str)
    except TypeError:
        # A text of the request that is no Unicode, half of a surrogate pair, is told as the escape it came as.
        return json.dumps(document, default=str).encode()


def _of_tocsin(error: TocsinError) -> Problem:
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503)
    if isinstance(error, LedgerError) and str(error).startswith("there is no"):
        status = 404
    detail, _, remedy = str(error).partition("; ")
    if status == 503:
        log.error("%s", error)
        return Problem(503, detail=detail, remedy=remedy, headers={"Retry-After": "5"})
    return Problem(status, detail=detail, remedy=remedy or SEE_DOCS)


def _of_http(error: HTTPException) -> Problem:
    remedies = {404: "see /docs for the paths there are", 405: "see /docs for the methods of this path"}
    phrase = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == phrase else str(error.detail)
    remedy = remedies.get(error.status_code, "")
    return Problem(error.status_code, detail=detail, remedy=remedy, headers=error.headers)


def _of_validation(errors: Sequence[Any]) -> Problem:
    faults = [_fault(each) for each in errors[:MOST_FAULTS]]
    more = {"errors": faults} if len(faults) > 1 else {}
    first = faults[0]
    return Problem(422, detail=first["detail"], field=first["field"], remedy=first["remedy"], more=more)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    """Name the field of a validation error, what is wrong with it, and the remedy."""
    place = [str(part) for part in error["loc"]]
    place = place[1:] if place[:1] == ["body"] else place
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    detail, _, remedy = message.partition("; ")
    fault = {"field": ".".join(place) or "body", "detail": detail, "remedy": remedy or SEE_DOCS}
    if kind == "extra_forbidden":
        fault |= {"detail": f"there is no field {place[-1]!r}", "remedy": "leave it out, or see /docs for its spelling"}
    elif kind == "missing":
        fault |= {"detail": f"{'.'.join(place) or 'a body'} must be given", "remedy": "see /docs for what is needed"}
    elif kind == "json_invalid":
        why = (error.get("ctx") or {}).get("error", "")
        fault = {"field": "body", "detail": f"this is no JSON: {why}", "remedy": "send one JSON document"}
    return fault
