"""Who calls, and what a caller may do.

Scopes ascend, and each implies those before it: read (look), score (observe and score), write (change and delete),
admin (stop, reset). The gate (gate.py) finds out who calls before any route runs and leaves it in
`request.state.caller`; a route says what it needs:

    router = APIRouter(dependencies=[needs("read")])       # or @router.delete(…, dependencies=[needs("write")])
    check(request, "score")                                # in a plain Starlette route
"""

from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from starlette.requests import Request

from tocsin.serve.problems import Problem
from tocsin.settings_serve import SCOPES, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a name for logs and limits, and the highest scope it holds."""

    name: str
    scope: Scope

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller holds a scope."""
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


ANYONE = Caller("anyone on this machine", "admin")
"""The caller where there is no authentication, which is on loopback only."""


def who(request: Request) -> Caller:
    """Return who sent a request. Raises Problem 401 when nobody said so."""
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    if caller is None:
        raise unknown("this needs an API key or a token, and there is none in the request")
    return caller


def check(request: Request, scope: Scope) -> Caller:
    """Return who sent a request, who must hold a scope. Raises Problem 401 or 403."""
    caller = who(request)
    if not caller.may(scope):
        raise Problem(
            403,
            detail=f"this needs the scope {scope!r}; {caller.name!r} has {caller.scope!r}",
            remedy="use a key or token with that scope: `tocsin keys create NAME --scope …`",
        )
    return caller


def needs(scope: Scope) -> Any:
    """Return the dependency of a route that only callers with a scope may use."""

    async def checked(request: Request) -> Caller:
        return check(request, scope)

    return Depends(checked)


def unknown(detail: str, remedy: str = "") -> Problem:
    """Return the refusal of a request whose sender is not known."""
    return Problem(
        401,
        detail=detail,
        remedy=remedy or "send the header Authorization: Bearer KEY; `tocsin keys create NAME` makes a key",
        headers={"WWW-Authenticate": 'Bearer realm="tocsin"'},
    )
