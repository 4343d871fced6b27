"""A service for tests: a real server on a free port of loopback, on a store of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from tocsin.app import App
from tocsin.app_serve import service_parts, serving
from tocsin.records.finding import Candidate
from tocsin.serve import findings, hosts, jobs, suppressions
from tocsin.serve.auth import ANYONE, Caller
from tocsin.serve.problems import add_problems
from tocsin.serve.server import Serving
from tocsin.settings import Settings
from tocsin.testing.clock import FakeClock
from tocsin.testing.findings import DAY, a_candidate

READY_S = 30.0


@dataclass
class Service:
    """A running service: its address, a client that calls it, and the app behind it."""

    url: str
    app: App
    client: httpx2.Client
    running: Serving = field(repr=False)
    stopped: threading.Event = field(repr=False)

    def wait_until_ready(self) -> None:
        """Wait until the contexts are read back."""
        for _ in range(int(READY_S / 0.05)):
            if self.client.get("/api/v1/admin/readiness").status_code == 200:
                return
            self.app.clock.sleep(0.05)
        raise AssertionError("not ready in time")


Start = Callable[..., Service]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Start]:
    """Start a service: `start_service(auth="keys", …)` with settings of `serve`, `more` with others.

    Those of one test share the store, and all end with the test.
    """
    with ExitStack() as stack:

        def start(more: dict[str, Any] | None = None, *, wait: bool = True, **serve: Any) -> Service:
            settings = Settings(store=str(tmp_path / "store"), serve={"port": 0, **serve}, **(more or {}))
            app = App(settings)
            stack.callback(app.close)
            stopped = threading.Event()
            running = stack.enter_context(serving(app, settings.serve, stopped))
            client = stack.enter_context(httpx2.Client(base_url=running.url, timeout=30))
            service = Service(running.url, app, client, running, stopped)
            if wait:
                service.wait_until_ready()
            return service

        yield start


@pytest.fixture
def service(start_service: Start) -> Service:
    """A service as it is by default: loopback, anyone may do everything, full durability."""
    return start_service()


# What follows: the ledger's routes alone, at a set time, without the gate.


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    """Return what a detector would propose about an entity."""

    return a_candidate


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An app in an empty folder, at a set time."""
    app = App(Settings(store=str(tmp_path)), clock=FakeClock(DAY))
    yield app
    app.close()


@pytest.fixture
def client(app: App) -> Iterator[Callable[..., TestClient]]:
    """Return a client of the ledger's routes that calls as whom it is told."""
    with ExitStack() as opened:

        def call_as(caller: Caller = ANYONE) -> TestClient:
            def gate(request: Request) -> None:
                request.state.caller = caller

            service = FastAPI(dependencies=[Depends(gate)])
            add_problems(service)
            for part in (findings, suppressions, hosts, jobs):
                service.include_router(part.routes(service_parts(app, app.settings.serve)))
            return opened.enter_context(TestClient(service))

        yield call_as
