"""Files sent to a context: kept aside, then read and learned in a thread, with progress to look at."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from tocsin.errors import SettingsError, StoreError
from tocsin.jobs.observations import Observations, Wanted
from tocsin.records.bounded import beyond
from tocsin.serve.asked import Asked, Nothing, Time
from tocsin.serve.auth import needs
from tocsin.serve.novelty import Novelty, check_new
from tocsin.serve.novelty_admin import Context
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.serve.uploads import Uploads

WRITE_BYTES = 1 << 20
UploadId = Annotated[str, Path(max_length=64, description="As the upload was answered.")]
BODY = {
    "requestBody": {
        "required": True,
        "description": "The file as it is, also packed (gzip, zstd).",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class UploadQuery(Asked):
    """What the file is, and what is observed of its records."""

    format: Literal["csv", "ndjson", "parquet", "zeek", "eve", "argus", "pcap"] | None = Field(
        None, description="Told by the content when not given."
    )
    kind: str = Field("", max_length=64, description="Only these records of a log: flow, zeek.ssh, eve.dns.")
    observe: list[Annotated[str, Field(min_length=1, max_length=10_000)]] = Field(
        [], max_length=32, description="SQL of a component; once for each."
    )
    where: str = Field("", max_length=10_000, description="SQL condition; other records are left out.")
    transformation: str | None = Field(None, max_length=64, description="Instead of observe and where.")


class UploadDocument(BaseModel):
    """Where an upload is."""

    id: str
    context: str
    state: Literal["running", "finished", "failed", "cancelled"]
    size_bytes: int
    observed: int = Field(description="Records learned so far.")
    rejected: int = Field(description="Records that could not be used.")
    reasons: list[str] = Field(description="Why, of the first of them.")
    error: str = Field(description="What ended it where that was an error, or that the file breaks off.")
    started: Time
    finished: Time | None


class UploadList(BaseModel):
    """The newest uploads, newest first."""

    uploads: list[UploadDocument]


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["uploads"])
    novelty = Novelty.of(parts)
    uploads = Uploads(novelty, parts.clock, parts.home / "uploads")
    parts.at_end.insert(0, uploads.close)

    @router.post(
        "/novelty/{context}/upload",
        status_code=202,
        response_model=UploadDocument,
        dependencies=[needs("score")],
        summary="Observe a file",
        openapi_extra=BODY,
    )
    async def upload(
        context: Context, query: Annotated[UploadQuery, Query()], request: Request, response: Response
    ) -> dict[str, Any]:
        """Keep a file (CSV, JSON lines, Parquet, Zeek and other logs), and observe its records in the background."""
        check_new(context)
        _ = novelty.contexts  # are they read back?
        wanted = await _wanted(novelty, query)
        _check_alone(wanted)
        try:
            reader = await novelty.sql.run(Observations, wanted, parts.whole_settings.ingest)
        except SettingsError as error:
            raise _no_query(error) from error
        uploads.check_room()
        uploads.sweep()
        path = await _kept(request.stream(), uploads.folder)
        try:
            begun = uploads.begin(context, path, reader)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        response.headers["Location"] = f"/api/v1/uploads/{begun.id}"
        return begun.to_dict()

    @router.get("/uploads", response_model=UploadList, dependencies=[needs("read")], summary="List uploads")
    async def listed(query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return the newest uploads since the service started."""
        return {"uploads": [each.to_dict() for each in uploads.newest()]}

    @router.get(
        "/uploads/{upload_id}", response_model=UploadDocument, dependencies=[needs("read")], summary="One upload"
    )
    async def one(upload_id: UploadId, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return where an upload is."""
        return uploads.get(upload_id).to_dict()

    @router.delete(
        "/uploads/{upload_id}", response_model=UploadDocument, dependencies=[needs("score")], summary="Cancel an upload"
    )
    async def cancel(upload_id: UploadId, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Stop reading; what is learned already stays."""
        return (await uploads.cancel(upload_id)).to_dict()

    return router


async def _wanted(novelty: Novelty, query: UploadQuery) -> Wanted:
    observe, where = tuple(query.observe), query.where
    if query.transformation is not None:
        if observe or where:
            raise Problem(
                422,
                detail="there is a transformation, and observe or where too",
                field="query.transformation",
                remedy="give one or the other",
            )
        named = await novelty.transformations.get(query.transformation)
        observe, where = named.observe, named.where
    if not observe:
        raise Problem(
            422,
            detail="which values make an observation?",
            field="query.observe",
            remedy="give observe=… once for each component (a column's name or SQL), or transformation=…",
        )
    return Wanted(observe, where, query.kind, query.format or "")


def _check_alone(wanted: Wanted) -> None:
    """Raise Problem for SQL that looks at more than its record."""
    named = {"query.observe": wanted.fields, "query.where": (wanted.where,)}
    for field, sql in [(field, sql) for field, each in named.items() for sql in each]:
        if problem := beyond(sql):
            raise Problem(422, detail=f"{sql!r}: {problem}", field=field, remedy="use the record's own fields")


def _no_query(error: SettingsError) -> Problem:
    detail = str(error).replace("--fields", "observe").removeprefix("--")
    return Problem(422, detail=detail, field="query", remedy="see /docs for what may be given")


async def _kept(stream: AsyncIterator[bytes], folder: FilePath) -> FilePath:
    """Write a body into a file of its own. Raises StoreError when the disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            path = FilePath(file.name)
            try:
                waiting = bytearray()
                async for piece in stream:
                    waiting += piece
                    if len(waiting) >= WRITE_BYTES:
                        await run_in_threadpool(file.write, bytes(waiting))
                        waiting.clear()
                await run_in_threadpool(file.write, bytes(waiting))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}; free some space, or send a smaller file") from error
    return path
