"""Transformations over the service: list, get, put, delete, and try one out."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, Field

from tocsin.errors import SettingsError
from tocsin.serve.asked import Asked, Nothing
from tocsin.serve.auth import needs
from tocsin.serve.novelty import Novelty
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.serve.transformation import MOST_CHARACTERS, Transformation, check_name
from tocsin.serve.transformation_store import Stored

Name = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Its name.")]
Sql = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
Observe = Annotated[
    list[Sql],
    Field(
        min_length=1,
        max_length=32,
        description="SQL of each component, over one incoming record.",
        examples=[["proto", "service", "resp_port // 1000"]],
    ),
]
Where = Annotated[
    str,
    Field(
        max_length=MOST_CHARACTERS,
        description="SQL condition; records for which it does not hold are left out.",
        examples=["proto <> 'icmp'"],
    ),
]


class Definition(Asked):
    """What is made of a record."""

    observe: Observe
    where: Where = ""


class Named(BaseModel):
    """A transformation that is there."""

    name: str
    observe: list[str]
    where: str


class NamedList(BaseModel):
    """Those that are there, by name."""

    transformations: list[Named]


class Trial(Asked):
    """A record, and a transformation: by its name, or as it may become."""

    record: dict[str, Any] = Field(description="As it would be sent to observe.")
    name: str | None = Field(None, max_length=64, description="A transformation that is there.")
    observe: Observe | None = None
    where: Where | None = None


class Outcome(BaseModel):
    """What a transformation makes of a record."""

    observation: list[str] | None = Field(description="What would be observed; null where the record is left out.")
    left_out: bool = Field(description="Whether `where` leaves the record out.")


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/transformations", tags=["transformations"])
    novelty = Novelty.of(parts)
    kept, sql = novelty.transformations, novelty.sql

    @router.get("", response_model=NamedList, dependencies=[needs("read")], summary="List transformations")
    def listed(query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return every transformation, by name."""
        return {"transformations": [kept.read(name).to_dict() for name in kept.names()]}

    @router.post("/dry-run", response_model=Outcome, dependencies=[needs("write")], summary="Try one out")
    async def dry_run(trial: Trial, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return what a transformation makes of a record, and learn nothing; or the exact error with its expression."""
        if trial.name is not None and (trial.observe is not None or trial.where is not None):
            raise Problem(422, detail="there is a name and a definition too", field="name", remedy="give one of them")
        if trial.name is None and trial.observe is None:
            raise Problem(422, detail="what is to be tried?", field="observe", remedy="give `observe`, or a `name`")
        if trial.name is not None:
            transformation = await kept.get(trial.name)
        else:
            transformation = await sql.run(_checked, trial.observe or [], trial.where or "")
        return await sql.run(_tried, transformation, trial.record)

    @router.get("/{name}", response_model=Named, dependencies=[needs("read")], summary="One transformation")
    def one(name: Name, response: Response, query: Annotated[Nothing, Query()]) -> dict[str, Any]:
        """Return a transformation; its ETag changes when it does."""
        stored = kept.read(name)
        response.headers["ETag"] = _tag(stored)
        return stored.to_dict()

    @router.put(
        "/{name}",
        response_model=Named,
        dependencies=[needs("write")],
        summary="Make or change one",
        responses={201: {"model": Named, "description": "It is new."}},
    )
    async def put(
        name: Name,
        definition: Definition,
        response: Response,
        query: Annotated[Nothing, Query()],
        if_match: Annotated[str | None, Header(max_length=200)] = None,
    ) -> dict[str, Any]:
        """Write a transformation, whose SQL is checked first. With If-Match only where its ETag is still this one."""
        tag = if_match.strip().strip('"') if if_match else None
        checked = await sql.run(_checked, definition.observe, definition.where)
        stored, is_new = await asyncio.to_thread(kept.put, check_name(name), checked, tag)
        response.headers["ETag"] = _tag(stored)
        response.status_code = 201 if is_new else 200
        return stored.to_dict()

    @router.delete("/{name}", status_code=204, dependencies=[needs("write")], summary="Delete one")
    def delete(name: Name, query: Annotated[Nothing, Query()]) -> Response:
        """Remove a transformation; requests that name it are refused from now on, within five seconds everywhere."""
        kept.delete(name)
        return Response(status_code=204)

    return router


def _checked(observe: list[str], where: str) -> Transformation:
    try:
        return Transformation(tuple(observe), where)
    except SettingsError as error:
        field, _, detail = str(error).partition(": ")
        remedy = "write one SQL expression over the fields of a record; POST /api/v1/transformations/dry-run tries it"
        raise Problem(422, detail=detail, field=field, remedy=remedy) from error


def _tried(transformation: Transformation, record: dict[str, Any]) -> dict[str, Any]:
    picked = transformation.apply([record])
    if picked.wrong:
        problem = picked.wrong[0]
        problem.told["field"] = "record"
        raise problem
    left_out = not len(picked.places)
    observation = None if left_out else [column[0].as_py() for column in picked.columns]
    return {"observation": observation, "left_out": left_out}


def _tag(stored: Stored) -> str:
    return f'"{stored.etag}"'
