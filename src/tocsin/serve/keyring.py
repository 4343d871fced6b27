"""API keys as the service knows them: read from the ledger every few seconds, judged from memory."""

import asyncio
import hmac
import logging
from datetime import datetime

from tocsin.clock import Clock
from tocsin.errors import TocsinError
from tocsin.ledger.keys import ApiKey, Keys, hash_of, id_of
from tocsin.serve.auth import Caller, unknown

REFRESH_S = 2.0
"""A key that was revoked is refused after at most so long; one that was made is known at once."""

log = logging.getLogger("tocsin.serve")


class Keyring:
    """The keys that count, by id."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._known: dict[str, ApiKey] = {}
        self._used: dict[str, datetime] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def takes(self, token: str) -> bool:
        """Tell whether it looks like a key."""
        return bool(id_of(token))

    def known(self, token: str) -> Caller | None:
        """Return the caller of a key that counts."""
        key = self._known.get(id_of(token))
        # The digests are of one length and compared in constant time: how long it takes tells nothing of the secret.
        if key is None or not hmac.compare_digest(key.hash, hash_of(token)):
            return None
        now = self._clock.now()
        if key.expires and key.expires <= now:
            return None
        self._used[key.id] = now
        return Caller(key.name, key.scope)

    async def look_up(self, token: str) -> Caller:
        """Return the caller of a key, after a look into the ledger. Raises Problem 401."""
        asked_at = self._clock.monotonic()
        async with self._reading:
            # Of those that wait here one reads for all.
            if self._read_at <= asked_at:
                await self._read()
        caller = self.known(token)
        if caller is None:
            raise unknown("this API key is unknown, expired or revoked", "`tocsin keys list` shows those that count")
        return caller

    async def refresh(self) -> None:
        """Read the keys anew, and write down which were used."""
        async with self._reading:
            await self._read()

    async def keep_fresh(self) -> None:
        """Read the keys every few seconds; while the ledger cannot be used those known go on counting."""
        while True:
            try:
                await self.refresh()
            except TocsinError as error:
                log.warning("the API keys cannot be read: %s", error)
            await asyncio.sleep(REFRESH_S)

    async def _read(self) -> None:
        began = self._clock.monotonic()
        used, self._used = self._used, {}
        keys = await asyncio.to_thread(self._exchange, used)
        now = self._clock.now()
        self._known = {key.id: key for key in keys if key.state_at(now) == "active"}
        self._read_at = began

    def _exchange(self, used: dict[str, datetime]) -> list[ApiKey]:
        if used:
            self._keys.mark_used(used)
        return self._keys.all()
