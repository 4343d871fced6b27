"""Runs an application on an address, in a thread, until it is told to stop."""

import socket
import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from tocsin.errors import SettingsError, TocsinError
from tocsin.serve.protocol import Protocol
from tocsin.settings_serve import ServeSettings

BACKLOG = 2048
KEEP_ALIVE_S = 75


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address. Raises SettingsError, with the remedy, when that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SettingsError(f"serve.host: {host!r} is no address of this machine: {error}") from error
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"serve.port: cannot listen on {host}:{port}: {error.strerror}; choose another port (--port), "
            f"or stop what listens there (`ss -ltnp 'sport = :{port}'` says what it is)"
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL of what listens on a socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Serving:
    """An application that is being served; `stop` ends it, `join` waits until it has ended.

    ended: called when it has, also where nobody asked for it.
    """

    def __init__(
        self, app: FastAPI, bound: socket.socket, settings: ServeSettings, ended: Callable[[], None] = lambda: None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            loop="uvloop",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(settings.drain_s) or 1,
        )
        self.url = url_of(bound)
        self._server = uvicorn.Server(config)
        self._bound = bound
        self._ended = ended
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, finish those that are running, and end."""
        self._server.should_exit = True

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; tell whether it has come. Raises what ended it where that was an error."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise TocsinError("the service could not be started, or broke off; its log says why") from self._error
        return True

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._bound])
        except BaseException as error:  # noqa: BLE001 - uvicorn ends a failed start with SystemExit; `join` tells it
            self._error = error
        finally:
            self._bound.close()
            self._ended()
