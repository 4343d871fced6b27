"""API keys: made, found and revoked. Of a key only a hash is kept.

A key is `tocsin_ID_SECRET`. The id finds its row; the secret is 256 random bits. Such a secret cannot be guessed, by
words or otherwise, so a plain SHA-256 of the whole key is as good as a slow hash, and every request can afford it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.errors import LedgerError
from tocsin.ledger.database import Database
from tocsin.ledger.schema import api_keys
from tocsin.records.finding import rfc3339
from tocsin.settings_serve import Scope

PREFIX = "tocsin"
SECRET_BYTES = 32


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; never the key itself."""

    id: str
    name: str
    hash: str
    scope: Scope
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None

    def state_at(self, at: datetime) -> str:
        """Say whether the key counts: `active`, `revoked` or `expired`."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= at else "active"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the hash."""
        times = {name: getattr(self, name) for name in ("created", "expires", "last_used", "revoked")}
        shown = {name: rfc3339(time) if time else None for name, time in times.items()}
        return {"id": self.id, "name": self.name, "scope": self.scope, **shown}


def hash_of(token: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(token.encode()).hexdigest()


def id_of(token: str) -> str:
    """Return the id in a key, '' where there is none."""
    prefix, _, rest = token.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else ""


class Keys:
    """The table of API keys."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, scope: Scope, expires: datetime | None = None) -> tuple[ApiKey, str]:
        """Make a key and return it with its text, which is nowhere else. Raises LedgerError for a name in use."""
        now, columns = self._clock.now(), api_keys.c
        id_ = secrets.token_hex(4)
        token = f"{PREFIX}_{id_}_{secrets.token_urlsafe(SECRET_BYTES)}"
        key = ApiKey(id_, name, hash_of(token), scope, now, expires, None, None)
        counts = columns.revoked.is_(None) & (columns.expires.is_(None) | (columns.expires > now))
        same_name = sa.select(columns.id).where(columns.name == name, counts)
        with self._database.writing() as connection:
            if connection.execute(same_name).first():
                raise LedgerError(f"there is an API key {name!r} already; choose another name, or revoke that one")
            connection.execute(api_keys.insert().values(**vars(key)))
        return key, token

    def all(self) -> list[ApiKey]:
        """Return every key, revoked and expired ones too, oldest first."""
        query = sa.select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
        with self._database.reading() as connection:
            return [ApiKey(**row) for row in connection.execute(query).mappings()]

    def revoke(self, name_or_id: str) -> ApiKey:
        """Let a key count no more. Raises LedgerError when there is none that counts."""
        found = [key for key in self.all() if name_or_id in (key.id, key.name) and not key.revoked]
        if not found:
            raise LedgerError(f"there is no API key {name_or_id!r} to revoke; `tocsin keys list` shows those there are")
        newest = found[-1]
        change = api_keys.update().where(api_keys.c.id == newest.id)
        now = self._clock.now()
        with self._database.writing() as connection:
            connection.execute(change.values(revoked=now))
        return ApiKey(**{**vars(newest), "revoked": now})

    def mark_used(self, used: dict[str, datetime]) -> None:
        """Write down when keys were last used, by id."""
        with self._database.writing() as connection:
            for id_, at in sorted(used.items()):
                connection.execute(api_keys.update().where(api_keys.c.id == id_).values(last_used=at))
