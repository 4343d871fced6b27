"""The connection to the ledger's database: URL, engine, transactions, and errors without passwords."""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from tocsin.errors import LedgerError

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10


class Database:
    """An SQLite or PostgreSQL database; every failure is a LedgerError that names it without its password."""

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self.shown = _show(self._url)
        self._engine = _sqlite_engine(self._url) if self.is_sqlite else _postgres_engine(self._url)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite; otherwise it is PostgreSQL."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that reads."""
        with self._errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that writes; committed at the end, rolled back on an error."""
        with self._errors(), self._engine.connect() as connection:
            connection = connection.execution_options(tocsin_writes=True)
            with connection.begin():
                yield connection

    def insert(self, table: sa.Table) -> "postgresql.Insert | sqlite.Insert":
        """Return an insert that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise LedgerError(f"{self.shown}: {self._reason(error)}") from error
        except SQLAlchemyError as error:
            raise LedgerError(
                f"cannot use the ledger {self.shown}: {self._reason(error)}; {self._remedy(error)}"
            ) from error

    def _reason(self, error: SQLAlchemyError) -> str:
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        password = self._url.password or self._url.query.get("password")
        return text.replace(str(password), "***") if password else text

    def _remedy(self, error: SQLAlchemyError) -> str:
        text = str(error).lower()
        if not self.is_sqlite:
            return "check that the server runs and that host, database, user and password in `ledger` are right"
        if "locked" in text:
            return "another process keeps it busy; try again when it has finished"
        if "not a database" in text or "malformed" in text:
            return "the file is damaged or something else; restore a backup or move it away"
        if "full" in text:
            return "free some space on its disk"
        return "check that its folder exists, can be written and has space"


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        # The original error may quote the address, and with it the password.
        raise LedgerError(
            "ledger: not a database URL; write sqlite:///FILE or postgresql://user@host/database"
        ) from None
    name = url.drivername.partition("+")[0]
    if name in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if name != "sqlite":
        raise LedgerError(f"ledger: {name!r} is not supported; use sqlite:///FILE or postgresql://user@host/database")
    return url


def _show(url: sa.URL) -> str:
    if url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.username or ''}{'@' if url.username else ''}{url.host or ''}{port}/{url.database or ''}"


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
    if url.database in (None, "", ":memory:"):
        options["poolclass"] = sa.StaticPool
    else:
        folder = Path(str(url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"ledger: cannot make the folder {folder}: {error.strerror}") from error
    engine = sa.create_engine(url, json_serializer=to_json, hide_parameters=True, **options)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        json_serializer=to_json,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "tocsin"},
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_S * 1000}", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _switch_to_wal(cursor)
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Turn on the write-ahead log, which is kept with the file; of several that try at once, all succeed."""
    for attempt in range(20):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 19:
                raise
            # The switch does not wait for other connections as everything else does; a transaction waits for it.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that begins with a read and then writes fails at once when another wrote between;
    # one that takes the write lock first waits its turn.
    writes = connection.get_execution_options().get("tocsin_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def to_json(value: Any) -> str:
    """Write JSON that every database takes: no NaN or infinity, no NUL, no half characters; times as text."""
    return json.dumps(clean(value), default=str, allow_nan=False)


def clean(value: Any) -> Any:
    """Replace what a database refuses: NUL and half characters by U+FFFD or '?', NaN and infinity by None."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(clean(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    # Array libraries' scalars know their plain value.
    return clean(value.item()) if hasattr(value, "item") else value
