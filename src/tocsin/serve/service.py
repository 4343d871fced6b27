"""The service: its routes, in the gate, with one description of all of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from tocsin import __version__
from tocsin.serve import (
    admin,
    docs,
    findings,
    hosts,
    jobs,
    novelty_admin,
    novelty_routes,
    page,
    suppressions,
    transformations,
    upload,
)
from tocsin.serve.callers import Callers, Credentials
from tocsin.serve.gate import Gate
from tocsin.serve.heap import keep_trim
from tocsin.serve.keyring import Keyring
from tocsin.serve.limits import Buckets
from tocsin.serve.oidc import Oidc
from tocsin.serve.openapi import describe
from tocsin.serve.origin import LOOPBACK_NAMES, Origins, name_of
from tocsin.serve.parts import Parts
from tocsin.serve.problems import add_problems
from tocsin.settings_serve import ServeSettings

PER_S = 1000.0
"""Requests a second of one caller, where the settings do not say."""
STRANGERS_PER_S = 10.0
"""Requests a second of one address that prove nothing."""
SLOW_START_S = 2.0

MODULES: tuple[Any, ...] = (
    novelty_routes,
    novelty_admin,
    transformations,
    upload,
    findings,
    suppressions,
    hosts,
    jobs,
    admin,
)
"""Files with `routes(parts)`: a router or a list of routes, with whole paths (/api/v1/…); where there is a
`describe(document)`, it adds to the OpenAPI document what FastAPI cannot know."""

log = logging.getLogger("tocsin.serve")


def make_service(parts: Parts) -> FastAPI:
    """Return the application."""
    credentials = _credentials(parts)
    app = FastAPI(
        title="tocsin",
        version=__version__,
        description="Tells how unusual what happens on a network is, and why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(parts, credentials),
    )
    add_problems(app)
    for module in MODULES:
        _mount(app, module.routes(parts))
    app.include_router(admin.metrics_routes(parts))
    app.include_router(docs.routes())
    _mount(app, page.routes())
    describers = [module.describe for module in MODULES if hasattr(module, "describe")]
    describe(app, describers, is_open=parts.settings.auth == "none")
    _add_gate(app, parts, credentials)
    return app


def _mount(app: FastAPI, routes: Any) -> None:
    if isinstance(routes, APIRouter):
        app.include_router(routes)
    else:
        app.router.routes.extend(routes)


def _credentials(parts: Parts) -> list[Credentials]:
    """Return the ways to prove who one is; none where nobody is asked."""
    found: list[Credentials] = []
    if "keys" in parts.settings.auth:
        found.append(Keyring(parts.ledger.keys, parts.clock))
    if "oidc" in parts.settings.auth:
        found.append(Oidc(parts.settings.oidc, parts.clock))
    return found


def _add_gate(app: FastAPI, parts: Parts, credentials: list[Credentials]) -> None:
    settings, now = parts.settings, parts.clock.monotonic
    per_s = settings.requests_per_s or (PER_S if credentials else None)
    app.add_middleware(
        Gate,
        settings=settings,
        origins=Origins(_names(settings)),
        callers=Callers(credentials),
        buckets=Buckets(per_s, now) if per_s else None,
        strangers=Buckets(STRANGERS_PER_S, now),
        metrics=parts.metrics.requests,
        now=now,
        direct=novelty_routes.direct(app.router.routes),
    )


def _names(settings: ServeSettings) -> set[str]:
    """Return the host names that requests may be for; none for any."""
    if settings.auth != "none" and not settings.allowed_hosts:
        return set()
    host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    return {name_of(host), *LOOPBACK_NAMES, *map(name_of, settings.allowed_hosts)}


def _lifespan(parts: Parts, credentials: list[Credentials]) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(_open(parts), name="open contexts")
        keeping = [asyncio.create_task(each.keep_fresh(), name="credentials") for each in credentials]
        keeping.append(asyncio.create_task(keep_trim(), name="trim"))
        try:
            yield
        finally:
            await _end(parts, opening, keeping)

    return lifespan


async def _open(parts: Parts) -> None:
    """Read the contexts back, and say so when it takes long; when it fails the service ends with that error."""
    began = parts.clock.monotonic()
    opening = asyncio.create_task(asyncio.to_thread(parts.open_contexts))
    try:
        while not (await asyncio.wait({opening}, timeout=SLOW_START_S))[0]:
            took_s = parts.clock.monotonic() - began
            log.info("getting ready, reading the contexts back from %s: %.0f s so far", parts.home / "novelty", took_s)
        parts.opened = await opening
    except Exception as error:  # noqa: BLE001 - told by whoever runs the service, which must not go on without contexts
        parts.failed = error
        parts.stop()
        return
    took_s = parts.clock.monotonic() - began
    log.info("%d contexts are read back, in %.1f s", len(parts.opened.names()), took_s)


async def _end(parts: Parts, opening: asyncio.Task[None], keeping: list[asyncio.Task[None]]) -> None:
    """Let what was begun end, then close the contexts; every request is answered by now."""
    for end in parts.at_end:
        await end()
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    await opening  # which must not leave the contexts half open
    if parts.opened is not None:
        contexts, parts.opened = parts.opened, None
        await asyncio.to_thread(contexts.close)
