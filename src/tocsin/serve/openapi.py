"""The description of the API: what FastAPI derives, what routes add, and the problems that any may answer."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tocsin.serve.problems import MEDIA_TYPE

Describer = Callable[[dict[str, Any]], None]

PROBLEM = {
    "type": "object",
    "description": "What is wrong, where, and what to do (RFC 9457).",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "What of the request is wrong."},
        "remedy": {"type": "string", "description": "What to do."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "All faults, where there are several."},
    },
}
REFUSALS = {
    "400": "The request cannot be read.",
    "401": "Nobody, or nobody known, sent it.",
    "403": "Who sent it may not do this.",
    "404": "There is nothing of this name.",
    "409": "It contradicts what is there.",
    "413": "Its body is too large.",
    "415": "Its body is of a type that is not taken.",
    "421": "It is for another host name.",
    "422": "Something in it is wrong.",
    "429": "Its sender sends too many.",
    "500": "An error of tocsin's own.",
    "503": "Not ready, too busy or too slow; try again.",
}
SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`tocsin keys create NAME`) or an OIDC token.",
    }
}
OPEN = ("/api/v1/admin/liveness", "/api/v1/admin/readiness")


def describe(app: FastAPI, describers: Sequence[Describer], *, is_open: bool) -> None:
    """Let the application describe all of itself; each describer adds to the document in place.

    is_open: nobody is asked who they are.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            for add in describers:
                add(document)
            _add_problems(document, is_open=is_open)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_problems(document: dict[str, Any], *, is_open: bool) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    if not is_open:
        components["securitySchemes"] = SCHEMES
    answer = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method not in ("get", "put", "post", "delete", "patch"):
                continue
            if path not in OPEN and not is_open:
                operation.setdefault("security", [{"bearer": []}])
            responses = operation.setdefault("responses", {})
            for status, why in REFUSALS.items():
                responses[status] = {"description": why, **answer}
