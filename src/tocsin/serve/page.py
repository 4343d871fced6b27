"""The page at `/`: the files of serve/ui/, with a policy that lets a browser run and fetch nothing else."""

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Every file there is."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # Text that was observed may be an attacker's: whatever would turn text into markup throws.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def routes() -> list[Route]:
    """Return the routes of the page, which are open to all and hold nothing secret: `/` and `/ui/NAME`."""
    return [_route(name, media_type) for name, media_type in MEDIA_TYPES.items()]


def _route(name: str, media_type: str) -> Route:
    """Return the route of a file, which is read once, now."""
    content = (files("tocsin.serve") / "ui" / name).read_bytes()
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    # The gate adds that a browser asks each time, so that page and service are always of one version; mostly it is 304.
    headers = {"Content-Security-Policy": POLICY, "ETag": tag}

    async def answer(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return Route("/" if name == "index.html" else f"/ui/{name}", answer, name=f"page {name}", include_in_schema=False)
