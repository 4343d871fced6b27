"""A service for tests: a real server on a free port of loopback, on a store of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tocsin.app import App
from tocsin.app_serve import serving
from tocsin.settings import Settings

READY_S = 30.0


@dataclass
class Service:
    """A running service: its address, a client that calls it, and the app behind it."""

    url: str
    app: App
    client: httpx2.Client
    stopped: threading.Event = field(repr=False)

    def wait_until_ready(self) -> None:
        """Wait until the contexts are read back."""
        if find_spec("tocsin.jobs.contexts") is None:
            return  # while it is being written
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
            service = Service(running.url, app, client, stopped)
            if wait:
                service.wait_until_ready()
            return service

        yield start


@pytest.fixture
def service(start_service: Start) -> Service:
    """A service as it is by default: loopback, anyone may do everything, full durability."""
    return start_service()
