"""OpenID Connect bearer tokens: JWTs that an issuer signed, judged by the keys that the issuer publishes.

What is checked: the signature, by RS256 or ES256 and nothing else, with a key of that kind; issuer, audience, expiry,
and that it is not from the future. The keys are fetched when they are first needed, kept for `refresh_s`, and fetched
again when a token names one that is not there, but not more often than every ten seconds.
OpenID Connect Core 1.0; OpenID Connect Discovery 1.0; RFC 7519; RFC 8725 (current practices against known attacks).
"""

import asyncio
import hashlib
import logging
import math
from collections.abc import Mapping
from typing import Any

import httpx2
import jwt

from tocsin.clock import Clock
from tocsin.serve.auth import Caller, unknown
from tocsin.serve.problems import Problem
from tocsin.settings_serve import SCOPES, OidcSettings, Scope

ALGORITHMS = {"RSA": "RS256", "EC": "ES256"}
"""The one algorithm that a key of a type is used with: no token chooses it, so that none can choose a weaker one."""
DISCOVERY = "/.well-known/openid-configuration"
RETRY_S = 10.0
REMEMBER_S = 60.0
MOST_REMEMBERED = 4096
MOST_BYTES = 1 << 20
MOST_TOKEN_BYTES = 16_384
LONGEST_NAME = 128

log = logging.getLogger("tocsin.serve")


class IssuerError(Exception):
    """The issuer cannot be reached, or what it publishes cannot be used."""


class Oidc:
    """The tokens of one issuer."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._remembered: dict[bytes, tuple[Caller, float]] = {}

    def takes(self, token: str) -> bool:
        """Tell whether it looks like a signed JWT."""
        return token.count(".") == 2 and len(token) <= MOST_TOKEN_BYTES

    def known(self, token: str) -> Caller | None:
        """Return the caller of a token that was found good less than a minute ago and has not expired since."""
        found = self._remembered.get(_digest(token))
        if found is None or self._clock.monotonic() >= found[1]:
            return None
        return found[0]

    async def look_up(self, token: str) -> Caller:
        """Return the caller of a token. Raises Problem: 401 for a bad one, 403 without scope, 503 without the keys."""
        claims = self._claims(token, await self._key(token))
        scope = self._scope(claims)
        caller = Caller(f"oidc:{ascii(claims['sub'])[1:-1][:LONGEST_NAME]}", scope)
        self._remember(token, caller, claims)
        return caller

    async def refresh(self) -> None:
        """Fetch the issuer's keys. Raises IssuerError; the keys there were go on counting."""
        async with self._fetching:
            self._tried_at = self._clock.monotonic()
            documents = await asyncio.to_thread(_fetch, self._settings)
            keys = _usable(documents)
            if not keys:
                raise IssuerError(f"{self._settings.issuer} publishes no key for RS256 or ES256")
            self._keys = keys
            self._fetched_at = self._clock.monotonic()

    async def keep_fresh(self) -> None:
        """Fetch the keys now, so that a wrong issuer shows at the start, and again before they grow old."""
        while True:
            await self._try_refresh()
            await asyncio.sleep(self._settings.refresh_s * 0.9 if self._keys else RETRY_S)

    async def _try_refresh(self) -> None:
        try:
            await self.refresh()
        except IssuerError as error:
            log.warning("the keys of the OIDC issuer cannot be fetched: %s", error)

    async def _key(self, token: str) -> jwt.PyJWK:
        """Return the key that a token names; the issuer is asked again for one that is not there."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise unknown(f"this is no signed token: {error}", REMEDY) from error
        now = self._clock.monotonic()
        is_old = now - self._fetched_at > self._settings.refresh_s
        if is_old or self._named(header) is None:
            if self._fetching.locked():
                async with self._fetching:
                    pass  # somebody fetches them just now
            elif now - self._tried_at >= RETRY_S:
                await self._try_refresh()
        key = self._named(header)
        if key is None and not self._keys:
            raise Problem(
                503,
                detail="the keys of the OIDC issuer cannot be fetched, so no token can be checked",
                remedy="check serve.oidc.issuer, and that this machine reaches it; the service's log tells more",
                headers={"Retry-After": str(int(RETRY_S))},
            )
        if key is None:
            raise unknown("this token is signed with a key that its issuer does not publish", REMEDY)
        if header.get("alg") != key.algorithm_name:
            raise unknown(f"this token is signed by {header.get('alg')!r}; only RS256 and ES256 are taken", REMEDY)
        return key

    def _named(self, header: Mapping[str, Any]) -> jwt.PyJWK | None:
        """Return the key that a token's header names; without a name, the only one there is."""
        name = header.get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name) if isinstance(name, str) else None

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """Return what a token says. Raises Problem 401 unless all of it is in order."""
        settings = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key=key,
                algorithms=[key.algorithm_name],
                issuer=settings.issuer,
                audience=settings.audience,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    # By our own clock, below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise unknown(f"this token is not taken: {error}", REMEDY) from error
        now, leeway_s = self._clock.now().timestamp(), settings.leeway_s
        times = {name: claims.get(name, now) for name in ("exp", "nbf", "iat")}
        if not all(isinstance(time, int | float) and math.isfinite(time) for time in times.values()):
            raise unknown("this token is not taken: its times are no numbers", REMEDY)
        if times["exp"] + leeway_s <= now:
            raise unknown("this token has expired", "fetch a new one from its issuer")
        if max(times["nbf"], times["iat"]) - leeway_s > now:
            raise unknown(
                "this token is not valid yet", "set the clocks of both machines, or raise serve.oidc.leeway_s"
            )
        return claims

    def _scope(self, claims: Mapping[str, Any]) -> Scope:
        """Return the highest scope that a token's claim stands for. Raises Problem 403 when it is none."""
        settings = self._settings
        means = settings.scopes or {scope: scope for scope in SCOPES}
        held = {means[value] for value in _values(claims, settings.scope_claim) if value in means}
        if not held:
            raise Problem(
                403,
                detail=f"this token's claim {settings.scope_claim!r} names no scope of this service",
                remedy=f"let the issuer grant one of {', '.join(means)}, or set serve.oidc.scopes",
            )
        return max(held, key=SCOPES.index)

    def _remember(self, token: str, caller: Caller, claims: Mapping[str, Any]) -> None:
        left_s = claims["exp"] + self._settings.leeway_s - self._clock.now().timestamp()
        if len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[_digest(token)] = caller, self._clock.monotonic() + min(REMEMBER_S, left_s)


REMEDY = "fetch a token for this service from its issuer, and send it as Authorization: Bearer TOKEN"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of a claim: of that name, or inside others where the name has dots."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return found.split()
    return [value for value in found if isinstance(value, str)] if isinstance(found, list) else []


def _usable(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """Return the keys of a JWK set that signatures may be checked with, by id."""
    keys = {}
    for number, each in enumerate(document.get("keys") or []):
        algorithm = ALGORITHMS.get(each.get("kty", "")) if isinstance(each, dict) else None
        if algorithm is None or each.get("use", "sig") != "sig" or each.get("alg", algorithm) != algorithm:
            continue
        try:
            keys[str(each.get("kid", f"#{number}"))] = jwt.PyJWK(each, algorithm)
        except jwt.PyJWTError as error:
            log.debug("a key of the OIDC issuer cannot be used: %s", error)
    return keys


def _fetch(settings: OidcSettings) -> dict[str, Any]:
    """Return the issuer's JWK set. Raises IssuerError."""
    with httpx2.Client(timeout=settings.timeout_s, follow_redirects=False) as client:
        about = _get_json(client, settings.issuer.rstrip("/") + DISCOVERY)
        if about.get("issuer") != settings.issuer:
            raise IssuerError(f"{settings.issuer} calls itself {about.get('issuer')!r}; set serve.oidc.issuer to that")
        url = str(about.get("jwks_uri", ""))
        if not url.startswith("https://") and settings.issuer.startswith("https://"):
            raise IssuerError(f"{settings.issuer} has its keys at {url!r}, which is not https")
        return _get_json(client, url)


def _get_json(client: httpx2.Client, url: str) -> dict[str, Any]:
    try:
        answer = client.get(url)
        answer.raise_for_status()
        if len(answer.content) > MOST_BYTES:
            raise IssuerError(f"{url}: more than {MOST_BYTES:,} bytes")
        document = answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise IssuerError(f"{url}: {error}") from error
    if not isinstance(document, dict):
        raise IssuerError(f"{url}: this is no JSON object")
    return document
