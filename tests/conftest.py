"""What every test may ask for: a clock, the real data, an S3 server, a PostgreSQL database."""

import contextlib
import hashlib
import http.client
import json
import logging
import os
import pwd
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from tocsin.app import App
from tocsin.testing.clock import FakeClock

# The first call of a kernel compiles it, so one example may take long; and a failure must come again.
settings.register_profile("tocsin", deadline=None, derandomize=True)
settings.load_profile("tocsin")

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Undo what a command that was run here did to the logs."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if handler not in handlers and handler.get_name() == "tocsin":
            root.removeHandler(handler)
            handler.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that goes only when told."""
    return FakeClock()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real captures."""
    folder = Path(os.environ.get("TOCSIN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set TOCSIN_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server on loopback, with a bucket `flows`."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/flows", method="PUT")).close()
    yield url
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL, up to the database's name, of a PostgreSQL server: the one given, or one of our own."""
    given = os.environ.get("TOCSIN_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    binaries = [Path(found).parent for found in [shutil.which("initdb")] if found]
    binaries += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not binaries:
        missing = "no PostgreSQL: install Debian's package postgresql, or set TOCSIN_TEST_POSTGRES_URL"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    folder = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
    user: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def run(*command: str) -> None:
        done = subprocess.run(
            [*user, *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout

    cluster, log = str(folder / "cluster"), str(folder / "log")
    control = [str(binaries[0] / "pg_ctl"), "-D", cluster, "-w"]
    try:
        run(
            str(binaries[0] / "initdb"),
            "-D",
            cluster,
            "-A",
            "trust",
            "-U",
            "tocsin",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        )
        # -l keeps the server from holding our pipe open.
        run(*control, "-l", log, "-o", f"-F -c listen_addresses='' -k {folder} -c max_connections=60", "start")
        yield f"postgresql://tocsin@/postgres?host={folder}"
        run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    import psycopg
    import sqlalchemy as sa

    server = sa.make_url(postgres_server).set(drivername="postgresql")
    name = f"tocsin_{secrets.token_hex(6)}"
    address = server.render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class FaultyServer:
    """An HTTP server on loopback that passes requests on to another, and does what `faults` says to the next ones.

    A fault is '503'; 'hang' (no answer); 'reset' (the connection breaks); 'lost' (the request is done, its answer never
    comes); 'trickle' (a byte now and then); or a pair of a status and a body to answer with.
    """

    def __init__(self, behind: str) -> None:
        self.behind = behind.removeprefix("http://")
        self.faults: list[str | tuple[int, bytes]] = []
        self.requests: list[str] = []
        self.stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _faulty_handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _faulty_handler(faulty: FaultyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faulty.requests.append(f"{self.command} {self.path}")
            fault = faulty.faults.pop(0) if faulty.faults else ""
            if fault == "503":
                fault = (503, b"<Error><Code>SlowDown</Code></Error>")
            if isinstance(fault, tuple):
                self._answer(fault[0], [], fault[1])
            elif fault in ("hang", "reset"):
                self._break(hang=fault == "hang")
            else:
                status, headers, answer = self._pass_on(body)
                if fault == "lost":
                    self._break(hang=False)
                else:
                    self._answer(status, headers, answer, slowly=fault == "trickle")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

        def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(faulty.behind)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            return response.status, response.getheaders(), answer

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, slowly: bool = False) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for at in range(len(body) if slowly else 0):
                    self.wfile.write(body[at : at + 1])
                    if faulty.stopped.wait(0.05):
                        break
                self.wfile.write(b"" if slowly else body)
            except OSError:
                self.close_connection = True

        def _break(self, *, hang: bool) -> None:
            if hang:
                faulty.stopped.wait()
            else:
                # Closing with this option set sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    return Handler


@pytest.fixture
def faulty_server(s3_server: str) -> Iterator[FaultyServer]:
    """A server in front of the S3 server that fails as it is told."""
    server = FaultyServer(s3_server)
    yield server
    server.close()


@pytest.fixture(scope="session")
def outputs() -> Callable[[App], dict[str, Any]]:
    """Return what a pipeline left in store and ledger, as values that are equal when its rows are."""

    def read(app: App) -> dict[str, Any]:
        made: dict[str, Any] = {"models": {}}
        for info in app.store.list(f"{app.domain}/"):
            if info.path.endswith(".parquet"):
                with app.store.open(info.path) as handle:
                    made[info.path] = _rows_digest(pq.read_table(handle))
            elif info.path.endswith("/index.json"):
                index = json.loads(app.store.get(info.path).data)
                made["models"][info.path] = ([(v["number"], v["digest"]) for v in index["versions"]], index["aliases"])
        found = app.ledger.findings(limit=None, include_suppressed=True)
        made["findings"] = sorted((item.id, item.score, item.count, item.record_count, item.title) for item in found)
        return made

    return read


def _rows_digest(table: pa.Table) -> str:
    keys = [(name, "ascending") for name in ("flowid", "host", "field", "key") if name in table.column_names]
    rows = table.sort_by(keys) if keys else table
    return f"{table.num_rows} rows {hashlib.blake2b(repr(rows.to_pydict()).encode()).hexdigest()}"
