"""Which requests a web page may have sent: none but those of our own page.

Without authentication whoever reaches the port may do everything, and every page that a browser on this machine shows
can reach the port: by a form or a fetch across sites, or, where its name was made to resolve to 127.0.0.1 (DNS
rebinding), as its own site. The browser says which: in Host, in Origin and in Sec-Fetch-Site.
"""

from collections.abc import Iterable, Mapping

from tocsin.serve.problems import Problem

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """The names that the service goes by.

    names: host names, without port; with none every host will do, which is for callers who must prove who they are.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._known: set[bytes] = set()

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise Problem for a request that was sent to another name, or by a page that is not ours."""
        host = headers.get(b"host", b"")
        if self._names and host not in self._known:
            self._check_host(host)
        if b"origin" in headers or b"sec-fetch-site" in headers:
            _check_page(method, host, headers)

    def _check_host(self, host: bytes) -> None:
        name = name_of(host.decode("latin-1"))
        if name not in self._names:
            raise Problem(
                421,
                detail=f"this service does not go by the name {name!r}",
                field="header.host",
                remedy=f"call it {' or '.join(sorted(self._names))}, or add the name to serve.allowed_hosts",
            )
        if len(self._known) < 100:
            self._known.add(host)


def name_of(host: str) -> str:
    """Return the name in a Host header or in `//host:port`, lower case, without the port."""
    host = host.strip().lower()
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return host[:end] if end > 0 else host


def _check_page(method: str, host: bytes, headers: Mapping[bytes, bytes]) -> None:
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", b"")
    is_ours = origin is None or origin.partition(b"//")[2].lower() == host.lower()
    is_elsewhere = site in (b"cross-site", b"same-site")
    if is_ours and not is_elsewhere:
        return
    # Following a link from elsewhere to our page changes nothing and shows the other page nothing.
    if method in SAFE and headers.get(b"sec-fetch-mode") == b"navigate":
        return
    raise Problem(
        403,
        detail="this request was sent by a web page of another site, which may not use the service",
        field="header.origin" if not is_ours else "header.sec-fetch-site",
        remedy="use the service's own page, or a program; a page elsewhere needs a server of its own between",
    )
