"""Settings of the service: where it listens, who may use it, and how much."""

import ipaddress
import re
from typing import Literal, Self, get_args

from pydantic import field_validator, model_validator

from tocsin.errors import SettingsError
from tocsin.settings_section import Section, setting

Scope = Literal["read", "score", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a caller of the service may do; each implies those before it."""

SECURE = re.compile(r"https://.|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/|$)")


class OidcSettings(Section):
    """Whose bearer tokens are taken; for `auth: oidc`."""

    issuer: str = setting("", "URL of the issuer; its /.well-known/openid-configuration is read")
    audience: str = setting("", "audience that a token must be made out to")
    scope_claim: str = setting("scope", "claim that holds the scopes: text with spaces, or a list; a.b for one inside")
    scopes: dict[str, Scope] = setting(
        {}, "what a value of that claim stands for: {tocsin-analysts: read}; read, score, write and admin when unset"
    )
    leeway_s: float = setting(60.0, "how far clocks may be apart", unit="seconds", ge=0, le=600)
    refresh_s: float = setting(3600.0, "how long the issuer's keys are kept", unit="seconds", ge=60, le=86_400)
    timeout_s: float = setting(10.0, "limit of one request to the issuer", unit="seconds", gt=0, le=60)

    @field_validator("issuer")
    @classmethod
    def _secure(cls, issuer: str) -> str:
        if issuer and not SECURE.match(issuer):
            raise ValueError(f"must begin with https:// (got {issuer!r})")
        return issuer


class ServeSettings(Section):
    """The REST service, `tocsin serve`."""

    enabled: bool = setting(False, "the daemon `tocsin run` serves too")
    host: str = setting("127.0.0.1", "address to listen on; anything but loopback needs auth")
    port: int = setting(8080, "port to listen on", ge=0, le=65535)
    auth: Literal["none", "keys", "oidc", "keys+oidc"] = setting(
        "none", "who may use it: anyone on this machine, holders of API keys (`tocsin keys`), of OIDC tokens, or both"
    )
    oidc: OidcSettings = OidcSettings()
    allowed_hosts: list[str] = setting(
        [], "names it is called by, such as tocsin.example.org; without auth localhost alone when unset"
    )
    trusted_proxies: list[str] = setting(
        [], "addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    durability: Literal["full", "fast"] = setting(
        "full",
        "what is acknowledged survives: full, also a power cut; fast, a kill, but not the last half minute of a crash",
    )
    requests_per_s: float | None = setting(
        None, "a caller's requests a second; 1000 with auth, no limit without, when unset", unit="requests/s", gt=0
    )
    max_body_mb: float = setting(64.0, "largest body of a request", unit="MiB", gt=0, le=4096)
    max_upload_mb: float = setting(4096.0, "largest file that is uploaded or imported", unit="MiB", gt=0)
    max_running: int = setting(1000, "most requests that are worked on at once", ge=1, le=100_000)
    timeout_s: float = setting(30.0, "limit of one request; large bodies get more", unit="seconds", gt=0, le=3600)
    drain_s: float = setting(30.0, "how long a stop waits for running requests", unit="seconds", gt=0, le=3600)
    access_log: Literal["none", "errors", "all"] = setting("errors", "which requests are logged")

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            ipaddress.ip_network(address)
        return addresses

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if "oidc" in self.auth and not (self.oidc.issuer and self.oidc.audience):
            raise ValueError("auth: oidc needs oidc.issuer and oidc.audience")
        return self


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_safe(settings: ServeSettings) -> None:
    """Refuse to be open to all. Raises SettingsError for an address that others reach, without authentication."""
    if settings.auth == "none" and not is_loopback(settings.host):
        raise SettingsError(
            f"serve.host: others can reach {settings.host}, and serve.auth is none; set serve.auth: keys and make a "
            "key with `tocsin keys create NAME`, or listen on 127.0.0.1"
        )
