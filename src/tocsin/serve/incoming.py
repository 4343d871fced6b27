"""What the novelty routes read of a request: its query, the type of its body, the body, and the observations in it."""

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from tocsin.errors import InputError
from tocsin.serve.problems import Problem

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"
MOST_OBSERVATIONS = 1_000_000
"""Observations of a request, where all are read before any is answered: each takes a hundred times the five bytes that
one may be sent in."""

_PLACE = re.compile(r"((?:\[\d+\])+): (.*)", re.DOTALL)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]


def query_of(scope: Scope, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return a request's query parameters, each read by the function of its name.

    Raises Problem 422 for one that is not known, is given twice, or whose function raises ValueError saying what it
    must be.
    """
    if not scope["query_string"]:
        return {}
    found: dict[str, Any] = {}
    for name, text in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        where = f"query.{name}"
        if name not in known:
            there = ", ".join(known) or "none"
            raise Problem(
                422, detail=f"there is no parameter {name!r} here", field=where, remedy=f"parameters are: {there}"
            )
        if name in found:
            raise Problem(422, detail=f"{name!r} is given twice", field=where, remedy="give it once")
        try:
            found[name] = known[name](text)
        except ValueError as error:
            raise Problem(
                422, detail=f"{text!r} {error}", field=where, remedy="see /docs for what it may be"
            ) from error
    return found


def flag(text: str) -> bool:
    """Read `1`, `true`, `0` or `false`. Raises ValueError."""
    if text.lower() not in ("1", "true", "0", "false"):
        raise ValueError("is neither 1 (true) nor 0 (false)")
    return text.lower() in ("1", "true")


def number(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number between two."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            raise ValueError(f"is no whole number from {least} to {most}")
        return int(text)

    return read


def header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    """Return a header by its lower-case name, '' when it is not there."""
    return headers.get(name, b"").decode("latin-1")


def body_type(headers: Mapping[bytes, bytes], *allowed: str) -> str:
    """Return which of the allowed types a body is of; JSON where nothing is said. Raises Problem 415."""
    if headers.get(b"content-type") == b"application/json":
        return JSON
    said = header(headers, b"content-type").partition(";")[0].strip().lower()
    if not said or said == JSON or (said.startswith("application/") and said.endswith("+json")):
        return JSON
    if said in allowed:
        return said
    types = ", ".join(allowed)
    raise Problem(415, detail=f"a body of type {said!r} is not taken here", remedy=f"send one of: {types}")


async def body_of(receive: Receive) -> bytes:
    """Return the whole body. Raises Problem when the sender goes away before its end."""
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        whole: bytes = message.get("body", b"")
        return whole
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise gone()


def gone() -> Problem:
    """Return what is told, to the log, of a sender that went away."""
    return Problem(400, detail="the sender went away before the end of the body", field="body")


def json_of(body: bytes, what: str) -> Any:
    """Return a body's JSON value. what: what is expected, for the message. Raises Problem 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, detail=f"this is no JSON: {error}", field="body", remedy=f"send {what}") from error


def list_of(body: bytes, what: str) -> list[Any]:
    """Return a body's JSON array. Raises Problem 400 for what is no JSON, 422 for what is no array."""
    found = json_of(body, what)
    if isinstance(found, list):
        return found
    raise Problem(422, detail=f"{what} is expected, not {said(found)}", field="body", remedy=f"send {what}")


def lines_of(lines: Iterable[bytes], first: int = 0) -> tuple[list[Any], dict[int, Problem]]:
    """Return the JSON values of lines, without blank ones, and what is wrong with others by their place.

    first: how many values came before, for the messages.
    """
    values: list[Any] = []
    wrong: dict[int, Problem] = {}
    for line in lines:
        if not line or line.isspace():
            continue
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            place = len(values)
            wrong[place] = Problem(
                400, detail=f"this is no JSON: {error}", field=f"[{first + place}]", remedy="send one JSON value a line"
            )
            values.append(None)
    return values, wrong


def refusal(error: InputError, *, first: int = 0, single: bool = False) -> Problem:
    """Return what is told of observations that cannot be used, with the place as the field.

    first: how many observations came before those that the error speaks of. single: there is only one observation,
    so that its number is not said.
    """
    found = _PLACE.fullmatch(str(error))
    place, detail = (found[1], found[2]) if found else ("", str(error))
    number_, _, component = place.removeprefix("[").partition("]")
    field = component if single else f"[{int(number_) + first}]{component}" if place else ""
    detail, _, remedy = detail.partition("; ")
    return Problem(
        422,
        detail=detail,
        field=field or "body",
        remedy=remedy or "send a list of texts, numbers, booleans or nulls, as many as this context's others have",
    )


def check_count(count: int) -> None:
    """Raise Problem for more observations than one request may hold."""
    if count > MOST_OBSERVATIONS:
        raise Problem(
            413,
            detail=f"{count:,} observations are more than the {MOST_OBSERVATIONS:,} that one request may hold",
            field="body",
            remedy=f"send them in parts, or as {NDJSON} with ?partial=1, which has no such limit",
        )


def said(value: Any) -> str:
    """Return what a JSON value is called."""
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
