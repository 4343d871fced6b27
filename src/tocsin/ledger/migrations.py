"""How a ledger comes to the present schema.

An empty database gets the tables of schema.py at once. One of an older version is taken through the numbered steps
that follow it. Both ways end in the same schema. Every version reached is a row of `schema_version`.
"""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.errors import LedgerError
from tocsin.ledger.schema import METADATA, api_keys, schema_version

Step = tuple[str, Callable[[sa.Connection], None]]

FIRST_VERSION = 1

# version that is reached: (what it brings, how). Never change a step that has been released.
STEPS: dict[int, Step] = {
    2: ("API keys", lambda connection: api_keys.create(connection)),
}

# Any number will do, as long as every tocsin takes the same one.
_ADVISORY_LOCK = 0x746F6373696E


def migrate(connection: sa.Connection, clock: Clock, steps: Mapping[int, Step] | None = None) -> int:
    """Bring the schema up to date inside the connection's transaction and return its version.

    The transaction must hold SQLite's write lock already; on PostgreSQL an advisory lock is taken here. So of two
    instances that start at once the second waits and finds nothing left to do.
    Raises LedgerError when the ledger was written by a newer tocsin.
    """
    steps = STEPS if steps is None else steps
    newest = max(steps, default=FIRST_VERSION)
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    present = _version(connection)
    if present is None:
        METADATA.create_all(connection)
        _record(connection, clock, newest, "created")
        return newest
    if present > newest:
        raise LedgerError(
            f"the ledger has schema version {present}, this tocsin knows versions up to {newest}; "
            "run the newer tocsin that wrote it, or restore an older backup"
        )
    for version in range(present + 1, newest + 1):
        note, change = steps[version]
        change(connection)
        _record(connection, clock, version, note)
    return newest


def _version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(schema_version.name):
        return None
    version: int | None = connection.execute(sa.select(sa.func.max(schema_version.c.version))).scalar()
    return version


def _record(connection: sa.Connection, clock: Clock, version: int, note: str) -> None:
    connection.execute(schema_version.insert().values(version=version, applied=clock.now(), note=note))
