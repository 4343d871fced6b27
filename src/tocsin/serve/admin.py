"""/api/v1/admin: is it alive, is it ready, stop, forget everything learned; and /metrics."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tocsin import __version__
from tocsin.errors import NotFoundError, StoreError, TocsinError
from tocsin.serve.auth import needs, who
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROBE_S = 5.0

log = logging.getLogger("tocsin.serve")


def routes(parts: Parts) -> APIRouter:
    """Return the routes of who runs the service."""
    router = APIRouter(prefix="/api/v1/admin", tags=["admin"])

    @router.get("/liveness", summary="Is the process alive")
    async def liveness() -> dict[str, str]:
        """Answer as long as the process does; for a supervisor that restarts what hangs."""
        return {"status": "alive", "version": __version__}

    @router.get("/readiness", summary="Is everything there that requests need")
    async def readiness() -> dict[str, Any]:
        """Tell whether the contexts are read back and ledger and store answer; 503 and what is missing otherwise."""
        missing = await _missing(parts)
        if missing:
            raise Problem(
                503,
                "Not ready",
                "; ".join(f"{part}: {why}" for part, why in missing.items()),
                remedy="try again in a moment; the service's log tells more",
                headers={"Retry-After": "1"},
                more={"missing": missing},
            )
        return {"status": "ready", "version": __version__, "contexts": len(parts.contexts.names())}

    @router.post("/shutdown", summary="Stop the service", dependencies=[needs("admin")], status_code=202)
    async def shutdown(request: Request) -> dict[str, str]:
        """Make everything durable that was acknowledged, answer, then finish running requests and end."""
        log.warning("a stop was asked for by %s", who(request).name)
        if parts.opened is not None:
            await asyncio.to_thread(parts.opened.commit)
        parts.stop()
        return {"status": "stopping"}

    @router.post("/reset", summary="Forget everything that was learned", dependencies=[needs("admin")])
    async def reset(request: Request) -> dict[str, Any]:
        """Empty every context; their options stay. Findings, suppressions and jobs are left as they are."""
        contexts = parts.contexts
        names = list(contexts.names())
        log.warning("every context is reset, as %s asked: %d", who(request).name, len(names))
        contexts.reset_all()
        if parts.novelty is not None:
            parts.novelty.recent.forget()
        await asyncio.to_thread(contexts.commit)
        return {"status": "reset", "contexts": len(names)}

    return router


def metrics_routes(parts: Parts) -> APIRouter:
    """Return the route for Prometheus."""
    router = APIRouter(tags=["admin"])

    @router.get("/metrics", summary="Prometheus metrics", dependencies=[needs("read")], response_class=Response)
    async def metrics() -> Response:
        """Return the metrics of the process, the service, the contexts, the jobs, the ledger and the store."""
        parts.metrics.contexts.totals = _totals(parts)
        return Response(await asyncio.to_thread(parts.metrics.text), media_type=METRICS_TYPE)

    return router


def _totals(parts: Parts) -> dict[str, int]:
    """Return what all contexts hold together; nothing while they are being read back."""
    if parts.opened is None:
        return {}
    found = [parts.opened.status(name) for name in parts.opened.names()]
    return {
        "tocsin_contexts": len(found),
        "tocsin_context_observed": sum(each.observed for each in found),
        "tocsin_context_entries": sum(each.entries for each in found),
        "tocsin_context_bytes": sum(each.nbytes for each in found),
    }


async def _missing(parts: Parts) -> dict[str, str]:
    """Return what is not there, with why."""
    missing = {}
    probes: dict[str, Callable[[], object]] = {
        "ledger": lambda: parts.ledger.jobs(limit=1),
        "store": lambda: _look(parts),
    }
    if parts.opened is None:
        missing["contexts"] = "they are being read back from disk"
    for name, probe in probes.items():
        try:
            async with asyncio.timeout(PROBE_S):
                await asyncio.to_thread(probe)
        except TimeoutError:
            missing[name] = f"no answer in {PROBE_S:g} seconds"
        except TocsinError as error:
            missing[name] = str(error)
    return missing


def _look(parts: Parts) -> None:
    """Ask the store for something that need not be there. Raises StoreError."""
    if not parts.home.is_dir():
        raise StoreError(f"{parts.home} is no folder any more")
    with suppress(NotFoundError):
        parts.store.get(f"{parts.domain}/readiness")
