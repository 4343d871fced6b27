"""SQL that strangers send: what it may be, and how long it may take.

DuckDB reaches no file and no network here (sql.py), but one line of SQL can sleep, count to a million millions or fill
the memory. Expressions therefore look at their own record alone, and what takes too long is broken off.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from time import monotonic
from typing import Any

import duckdb

from tocsin.errors import InputError
from tocsin.records.sql import own_connection

LOOK_S = 0.05
"""So often a watch looks whether the time is over, and breaks off whatever runs then."""

MULTIPLIERS = frozenset({"range", "generate_series", "repeat", "lpad", "rpad", "list_resize", "array_resize", "bar"})
"""Functions that make very much of a number."""
SLEEPERS = frozenset({"pg_sleep", "sleep_ms", "sleep"})

_VOLATILE = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
_PARSED = "SELECT json_serialize_sql(?)"


@lru_cache(maxsize=1024)
def beyond(sql: str) -> str | None:
    """Say what an expression asks for beside its own record; None: nothing, or it is no SQL at all."""
    ((parsed,),) = own_connection().execute(_PARSED, [f"SELECT ({sql})"]).fetchall()
    return next((problem for node in _nodes(json.loads(parsed)) if (problem := _problem(node))), None)


@contextmanager
def within(limit_s: float, stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Break off what this thread's own connection runs when the time is over, or when `stop` says so.

    Raises InputError then. A function that works on one value looks up only at its end.
    """
    connection, ends, done = own_connection(), monotonic() + limit_s, threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_S):
            if monotonic() >= ends or stop():
                connection.interrupt()  # again and again: between two queries it would be forgotten

    watching = threading.Thread(target=watch, name="sql-watch", daemon=True)
    watching.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise InputError(f"this SQL takes longer than {limit_s:g} seconds; make it simpler, or send less") from error
    finally:
        done.set()
        watching.join()


@lru_cache(maxsize=1)
def _changing() -> frozenset[str]:
    """Return the functions whose value does not follow from what they are given."""
    return frozenset(name for (name,) in own_connection().execute(_VOLATILE).fetchall()) - {"error"} | SLEEPERS


def _problem(node: dict[str, Any]) -> str | None:
    kind, name = node.get("class"), str(node.get("function_name", "")).lower()
    if kind == "SUBQUERY":
        return "it must look at its own record alone, without a SELECT in it"
    if kind == "STAR":
        return "it must be one value of a record, not all of its columns"
    if name in MULTIPLIERS:
        return f"{name}() is not to be had here: it makes too much of a number"
    if name in _changing():
        return f"{name}() is not to be had here: its value does not follow from the record"
    return None


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON value."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            yield here
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here
