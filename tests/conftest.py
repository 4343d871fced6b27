"""What every test may ask for: a clock, the real data, an S3 server, a PostgreSQL database."""

import logging
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tocsin.testing.clock import FakeClock

# The first call of a kernel compiles it, so one example may take long; and a failure must come again.
settings.register_profile("tocsin", deadline=None, derandomize=True)
settings.load_profile("tocsin")

ROOT = Path(__file__).parent.parent


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
