"""What is common to what clients ask: unknown words are refused, lists come in pages, times as people write them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tocsin.errors import SettingsError
from tocsin.records.when import parse_until, parse_when
from tocsin.serve.problems import Problem

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time in an answer: RFC 3339 in UTC."""

SomeTime = Annotated[str, Field(max_length=64, examples=["24h", "2025-01-08", "2025-01-08T10:00:00Z"])]
"""A time in a request: RFC 3339, a date, or so long ago (or ahead, where something ends)."""

Text = Annotated[str, Field(max_length=1000)]


class Asked(BaseModel):
    """What a request may say; a word that is not among it is refused."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Asked):
    """The query of a route that takes none."""


class Page(Asked):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=1000, description="Most that are given.")
    after: str | None = Field(None, max_length=64, description="Go on behind this one: `next` of the page before.")


def ago(text: str | None, now: datetime, field: str) -> datetime | None:
    """Return a time that was asked for, 24h meaning so long ago. Raises Problem."""
    try:
        return parse_when(text, now, field)
    except SettingsError as error:
        raise _no_time(field, error) from error


def ahead(text: str | None, now: datetime, field: str) -> datetime | None:
    """Return when something is asked to end, 30d meaning so long from now. Raises Problem."""
    try:
        return parse_until(text, now, field)
    except SettingsError as error:
        raise _no_time(field, error) from error


def _no_time(field: str, error: SettingsError) -> Problem:
    detail, _, remedy = str(error).removeprefix(f"{field}: ").partition("; ")
    return Problem(422, detail=detail, field=field, remedy=remedy or "give a time such as 2025-01-08T10:00:00Z")
