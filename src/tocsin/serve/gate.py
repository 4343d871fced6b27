"""What every request passes before a route sees it, and every answer on its way out; one pure ASGI layer, for speed.

In: is the host one of ours, does the page that sends it belong to us, who calls, not too often, not too many at once.
On the way: the body's size, and the time. Out: security headers, a problem document for what went wrong, the count
and the log. Nothing of a request but method, path and caller is ever logged: no headers, no query, no body.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.serve.auth import Caller, unknown
from tocsin.serve.callers import Callers
from tocsin.serve.limits import SLOWEST_BYTES_PER_S, Buckets, check_length, most_bytes, too_large
from tocsin.serve.metrics import RequestMetrics
from tocsin.serve.origin import Origins
from tocsin.serve.problems import Problem, problem_of
from tocsin.settings_serve import ServeSettings

OPEN = frozenset({"/api/v1/admin/liveness", "/api/v1/admin/readiness"})
"""Paths of the API that need no caller; the page and /docs, outside the API, need none either."""
CLOSED = ("/api/", "/metrics")

API_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
)
PAGE_HEADERS = (
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
WANTED = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"authorization", b"content-length"})

log = logging.getLogger("tocsin.access")


class Gate:
    """The layer around the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServeSettings,
        origins: Origins,
        callers: Callers,
        buckets: Buckets | None,
        strangers: Buckets,
        metrics: RequestMetrics,
        now: Callable[[], float],
        direct: Callable[[Scope], ASGIApp | None] = lambda scope: None,
    ) -> None:
        """Stand before an application. direct: gives what answers a request without the layers between, if anything."""
        self.app = app
        self.direct = direct
        self.settings = settings
        self.metrics = metrics
        self.now = now
        self._origins = origins
        self._callers = callers
        self._buckets = buckets
        self._strangers = strangers
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it with a problem."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            self._running += 1
            try:
                await _Passage(self, scope, receive, send).go()
            finally:
                self._running -= 1

    async def admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Find out who sent a request and leave it in its state. Raises Problem for one that may not pass."""
        if self._running > self.settings.max_running:
            raise Problem(
                503,
                "Too busy",
                f"{self.settings.max_running} requests are worked on already",
                remedy="wait as Retry-After says, or raise serve.max_running",
                headers={"Retry-After": "1"},
            )
        self._origins.check(scope["method"], headers)
        authorization = headers.get(b"authorization")
        caller = self._callers.known(authorization)
        if caller is None:
            caller = await self._find(scope, authorization)
        elif self._buckets is not None:
            self._buckets.take(caller.name)
        scope.setdefault("state", {})["caller"] = caller

    async def _find(self, scope: Scope, authorization: bytes | None) -> Caller | None:
        """Ask for the caller where it is not known at once; those who are not known share their address's bucket."""
        path: str = scope["path"]
        if authorization is None and path in OPEN:
            return None  # whoever else at this address fails to prove anything: who watches the service is answered
        # Before anything is looked up for them.
        self._strangers.check(address_of(scope))
        try:
            caller = await self._callers.find(authorization)
            if caller is None and path.startswith(CLOSED) and path not in OPEN:
                raise unknown("this needs an API key or a token, and there is none in the request")
        except Problem:
            self._strangers.take(address_of(scope))
            raise
        if self._buckets is not None:
            self._buckets.take(caller.name if caller else address_of(scope))
        return caller


class _Passage:
    """One request on its way in and its answer on the way out."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0
        self._received = 0
        self._most = most_bytes(gate.settings, scope["path"])
        self._timer: asyncio.Timeout | None = None

    async def go(self) -> None:
        began = self._gate.now()
        try:
            await self._answer()
        finally:
            self._tell(self._gate.now() - began)

    async def _answer(self) -> None:
        try:
            headers = _wanted(self._scope["headers"])
            await self._gate.admit(self._scope, headers)
            check_length(headers, self._most)
            async with asyncio.timeout(self._gate.settings.timeout_s) as self._timer:
                app = self._gate.direct(self._scope) or self._gate.app
                await app(self._scope, self.receive, self.send)
        except TimeoutError as error:
            if self._timer is None or not self._timer.expired():
                await self._refuse(problem_of(error))
            else:
                await self._refuse(self._too_slow())
        except Exception as error:  # noqa: BLE001 - whatever it is becomes an answer; problem_of logs what nobody expected
            await self._refuse(problem_of(error))

    async def receive(self) -> Message:
        """Pass on a piece of the body; the more there is, the more time it gets."""
        message = await self._receive()
        size = len(message.get("body", b""))
        if size:
            self._received += size
            if self._received > self._most:
                raise too_large(self._most)
            if message.get("more_body"):
                self._extend(size / SLOWEST_BYTES_PER_S)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a piece of the answer; one that goes on gets its time anew with each piece that is taken."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = self._headed(message.get("headers", []))
        await self._send(message)
        if message.get("more_body"):
            assert self._timer is not None
            self._timer.reschedule(asyncio.get_running_loop().time() + self._gate.settings.timeout_s)

    def _extend(self, by_s: float) -> None:
        assert self._timer is not None
        ends = self._timer.when()
        if ends is not None:
            self._timer.reschedule(ends + by_s)

    def _headed(self, headers: Any) -> list[tuple[bytes, bytes]]:
        ours = API_HEADERS if self._scope["path"].startswith(CLOSED) else PAGE_HEADERS
        present = {name.lower() for name, _ in headers}
        return [*headers, *(each for each in ours if each[0] not in present)]

    async def _refuse(self, problem: Problem) -> None:
        """Answer with a problem; where the answer has begun already, break it off instead, so that it shows."""
        if not self._status:
            await problem.response()(self._scope, self._receive, self.send)

    def _too_slow(self) -> Problem:
        return Problem(
            503,
            "Too slow",
            f"this was not done in {self._gate.settings.timeout_s:g} seconds",
            remedy="ask for less, try again (with the same Idempotency-Key), or raise serve.timeout_s",
            headers={"Retry-After": "1", "Connection": "close"},
        )

    def _tell(self, took_s: float) -> None:
        scope, status = self._scope, self._status
        route = getattr(scope.get("route"), "path", "") or "other"
        self._gate.metrics.count(scope["method"], route, status, took_s)
        wanted = self._gate.settings.access_log
        if wanted == "all" or (wanted == "errors" and not 100 <= status < 400):
            caller = scope.get("state", {}).get("caller")
            path = scope.get("raw_path", b"").decode("latin-1")
            who = caller.name if caller else address_of(scope)
            log.info("%s %s %d %.1f ms %s", scope["method"], path, status, took_s * 1000, who)


def _wanted(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers that count here. Raises Problem for one that is given twice: which of them counts?"""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in WANTED:
            if name in found:
                raise Problem(400, detail="this header is given twice", field=f"header.{name.decode()}")
            found[name] = value
    return found


def address_of(scope: Scope) -> str:
    """Return the address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"
