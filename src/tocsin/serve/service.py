"""The service: its routes, in the gate, with one description of all of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, FastAPI

from tocsin import __version__
from tocsin.errors import TocsinError
from tocsin.serve import admin, docs, page
from tocsin.serve.callers import Callers, Credentials
from tocsin.serve.gate import Gate
from tocsin.serve.keyring import REFRESH_S, Keyring
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

MODULES = (
    *("novelty_routes", "novelty_admin", "transformations", "upload"),
    *("findings", "suppressions", "hosts", "jobs"),
)
"""Files with `routes(parts)`: a router or a list of routes, with whole paths (/api/v1/…); where there is a
`describe(document)`, it adds to the OpenAPI document what FastAPI cannot know."""

log = logging.getLogger("tocsin.serve")


def make_service(parts: Parts) -> FastAPI:
    """Return the application."""
    keyring = Keyring(parts.ledger.keys, parts.clock)
    app = FastAPI(
        title="tocsin",
        version=__version__,
        description="Tells how unusual what happens on a network is, and why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(parts, keyring),
    )
    add_problems(app)
    describers = []
    for name in MODULES:
        if find_spec(f"tocsin.serve.{name}") is None:
            continue
        try:
            module = import_module(f"tocsin.serve.{name}")
        except ImportError as error:  # while its parts are being written
            log.warning("%s is left out: %s", name, error)
            continue
        _mount(app, module.routes(parts))
        if hasattr(module, "describe"):
            describers.append(module.describe)
    app.include_router(admin.routes(parts))
    app.include_router(admin.metrics_routes(parts))
    app.include_router(docs.routes())
    _mount(app, page.routes())
    describe(app, describers, is_open=parts.settings.auth == "none")
    _add_gate(app, parts, keyring)
    return app


def _mount(app: FastAPI, routes: Any) -> None:
    if isinstance(routes, APIRouter):
        app.include_router(routes)
    else:
        app.router.routes.extend(routes)


def _add_gate(app: FastAPI, parts: Parts, keyring: Keyring) -> None:
    settings, now = parts.settings, parts.clock.monotonic
    credentials: list[Credentials] = []
    if "keys" in settings.auth:
        credentials.append(keyring)
    if "oidc" in settings.auth:
        credentials.append(Oidc(settings.oidc, parts.clock))
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
    )


def _names(settings: ServeSettings) -> set[str]:
    """Return the host names that requests may be for; none for any."""
    if settings.auth != "none" and not settings.allowed_hosts:
        return set()
    host = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    return {name_of(host), *LOOPBACK_NAMES, *map(name_of, settings.allowed_hosts)}


def _lifespan(parts: Parts, keyring: Keyring) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(_open(parts), name="open contexts")]
        if "keys" in parts.settings.auth:
            await keyring.refresh()
            tasks.append(asyncio.create_task(_keep_fresh(keyring), name="refresh keys"))
        try:
            yield
        finally:
            await _end(parts, tasks)

    return lifespan


async def _open(parts: Parts) -> None:
    """Read the contexts back, and say so when it takes long; when it fails the service ends with that error."""
    began = parts.clock.monotonic()
    opening = asyncio.create_task(asyncio.to_thread(parts.open_contexts))
    try:
        while not (await asyncio.wait({opening}, timeout=SLOW_START_S))[0]:
            took_s = parts.clock.monotonic() - began
            log.info("reading the contexts back from %s for %.0f s", parts.home / "novelty", took_s)
        parts.opened = await opening
    except ImportError as error:  # while jobs/contexts.py is being written
        log.warning("there are no contexts: %s", error)
        return
    except Exception as error:  # noqa: BLE001 - told by whoever runs the service, which must not go on without contexts
        parts.failed = error
        parts.stop()
        return
    took_s = parts.clock.monotonic() - began
    log.info("%d contexts are read back, in %.1f s", len(parts.opened.names()), took_s)


async def _keep_fresh(keyring: Keyring) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            await keyring.refresh()
        except TocsinError as error:
            log.warning("the API keys cannot be read, those known go on counting: %s", error)


async def _end(parts: Parts, tasks: list[asyncio.Task[None]]) -> None:
    """Let what was begun end, then close the contexts; every request is answered by now."""
    for end in parts.at_end:
        await end()
    for task in tasks[1:]:  # the first one opens the contexts, and must not leave them half open
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    if parts.opened is not None:
        contexts, parts.opened = parts.opened, None
        await asyncio.to_thread(contexts.close)
