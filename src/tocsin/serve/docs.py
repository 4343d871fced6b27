"""/docs: the API described, tried out in the browser; its files come with the installation, none from the network."""

from collections.abc import Awaitable, Callable
from importlib.metadata import distribution
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

CARRIER = "fastapi_offline"
"""The package that carries the files of Swagger UI (Apache-2.0)."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tocsin API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null, tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  layout: "BaseLayout", persistAuthorization: false,
});
"""
# Swagger UI writes style attributes; scripts are only those of this service.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def routes() -> APIRouter:
    """Return the page and its files."""
    router = APIRouter(include_in_schema=False)
    folder = Path(str(distribution(CARRIER).locate_file(CARRIER))) / "static"

    async def page() -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})

    async def start() -> Response:
        return Response(START, media_type="text/javascript")

    router.add_api_route("/docs", page)
    router.add_api_route("/docs/start.js", start)
    for name, media_type in FILES.items():
        router.add_api_route(f"/docs/{name}", _file(folder / name, media_type))
    return router


def _file(path: Path, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def file() -> Response:
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": "max-age=3600"})

    return file
