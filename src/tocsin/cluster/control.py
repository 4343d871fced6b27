"""A way to ask a running watch: a Unix socket that takes one JSON line and gives one back."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tocsin import errors
from tocsin.cluster.plain import plain, revive
from tocsin.errors import SettingsError, TocsinError

MAX_PATH = 100
"""Longer paths do not fit into a Unix socket's address."""

MAX_LINE = 16 << 20
TIMEOUT_S = 30.0


@dataclass(eq=False)
class Request:
    """What somebody asks; it is answered once, with a result or an error.

    Raises nothing: who asked may be gone.
    """

    asked: dict[str, Any]
    reply: dict[str, Any] | None = None
    _is_answered: threading.Event = field(default_factory=threading.Event)

    def answer(self, result: Any) -> None:
        """Give the result: values that JSON can hold, and times."""
        self._reply({"result": plain(result)})

    def refuse(self, error: TocsinError) -> None:
        """Give an error, which is raised where it was asked."""
        self._reply({"error": [type(error).__name__, str(error)]})

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """Return the reply."""
        if not self._is_answered.wait(timeout_s):
            self.refuse(TocsinError("the watch is busy and did not answer in time; try again"))
        assert self.reply is not None
        return self.reply

    def _reply(self, reply: dict[str, Any]) -> None:
        if not self._is_answered.is_set():
            self.reply = reply
            self._is_answered.set()


class Control:
    """Listens at a path, for this user only, and keeps requests until the watch's loop takes them.

    A socket that a killed watch left is replaced. Raises SettingsError when another watch listens there.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        if _answers(path):
            raise SettingsError(f"{path}: a watch runs here already; stop it, or give this one another home")
        self.path, self._timeout_s = path, timeout_s
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._is_closed = False
        self._listener = _listen(path)
        self._inode = path.stat().st_ino
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def pending(self) -> list[Request]:
        """Return the requests that came since the last call; each wants an answer."""
        found = []
        with suppress(Empty):
            while True:
                found.append(self._requests.get_nowait())
        return found

    def close(self) -> None:
        """Listen no longer; what waits is refused."""
        self._is_closed = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        with suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        self._refuse_pending()

    def _refuse_pending(self) -> None:
        for request in self.pending():
            request.refuse(TocsinError("the watch is ending"))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(self._timeout_s)
        with connection, suppress(OSError):
            connection.sendall(_line(self._reply(connection)))

    def _reply(self, connection: socket.socket) -> dict[str, Any]:
        try:
            request = Request(_read_line(connection))
        except ValueError as error:
            return {"error": ["TocsinError", f"a request is one JSON object on a line: {error}"]}
        self._requests.put(request)
        if self._is_closed:
            self._refuse_pending()
        return request.wait(self._timeout_s)


def ask(path: Path, request: dict[str, Any], *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return what the watch that listens at a path answers.

    Raises TocsinError when none does, and what the watch refused with.
    """
    try:
        with _address(path) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s + 1)
            connection.connect(address)
            connection.sendall(_line(request))
            reply = _read_line(connection)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise TocsinError(f"no watch runs here (nothing listens at {path}); start `tocsin watch`") from error
    except PermissionError as error:
        raise TocsinError(f"{path}: {error.strerror}; ask as the user that runs the watch") from error
    except (OSError, ValueError) as error:
        raise TocsinError(f"the watch at {path} did not answer: {error}") from error
    if "error" in reply:
        name, text = reply["error"]
        kind = getattr(errors, name, TocsinError)
        raise kind(text)
    return revive(Any, reply["result"])


def _listen(path: Path) -> socket.socket:
    """Listen at a path, in place of what is there. Nobody else can connect at any moment, for the name comes last."""
    listener = socket.socket(socket.AF_UNIX)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with _address(temporary) as address:
            listener.bind(address)
        temporary.chmod(0o600)
        listener.listen()
        temporary.replace(path)
    except OSError as error:
        listener.close()
        with suppress(OSError):
            temporary.unlink()
        raise SettingsError(f"cannot listen at {path}: {error.strerror}") from error
    return listener


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield a path that is short enough for a socket's address: a long one by way of its open folder."""
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _answers(path: Path) -> bool:
    try:
        with _address(path) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(address)
    except OSError:
        return False
    return True


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _read_line(connection: socket.socket) -> dict[str, Any]:
    """Read one line. Raises ValueError when it is no JSON object, or cut short."""
    with connection.makefile("rb") as file:
        line = file.readline(MAX_LINE)
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end")
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value
