"""Finds out who sent a request, from its Authorization header: by API key, by OIDC token, or anyone on loopback."""

from typing import Protocol

from tocsin.serve.auth import ANYONE, Caller, unknown


class Credentials(Protocol):
    """One way to prove who one is."""

    def takes(self, token: str) -> bool:
        """Tell whether this is the kind of token that it judges."""
        ...

    def known(self, token: str) -> Caller | None:
        """Return whom a token proves, at once and from memory, or None when it must be looked up."""
        ...

    async def look_up(self, token: str) -> Caller:
        """Return whom a token proves. Raises Problem 401."""
        ...

    async def keep_fresh(self) -> None:
        """Learn of what changes, for as long as the service runs."""
        ...


class Callers:
    """Who calls. Without credentials to ask for, it is anyone."""

    def __init__(self, credentials: list[Credentials]) -> None:
        self._credentials = credentials

    def known(self, authorization: bytes | None) -> Caller | None:
        """Return the caller where that is known at once, for the sake of speed; then ask `find`."""
        if not self._credentials:
            return ANYONE
        if authorization is None:
            return None
        token = token_of(authorization)
        for each in self._credentials:
            if each.takes(token):
                return each.known(token)
        return None

    async def find(self, authorization: bytes | None) -> Caller | None:
        """Return the caller, or None when the request does not say. Raises Problem 401 for what proves nothing."""
        if authorization is None:
            return None
        token = token_of(authorization)
        for each in self._credentials:
            if token and each.takes(token):
                return await each.look_up(token)
        raise unknown("the Authorization header holds no key or token that this service takes")


def token_of(authorization: bytes) -> str:
    """Return the token of `Bearer TOKEN`, '' for anything else."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
