"""SQL over batches of one record kind, of which no two need have the same columns."""

import difflib
import logging
import re
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.errors import SettingsError
from tocsin.records.expressions import MISUSES, Evaluated, run
from tocsin.records.sql import own_connection
from tocsin.records.usual import is_usual

log = logging.getLogger(__name__)

Selected = Evaluated

PLANS = 256
"""Schemas of which a selection remembers what it found out."""

_PART = r'(?:"(?:[^"]|"")*"|[^\W\d]\w*)'
_TOKEN = re.compile(
    rf"(?P<other>'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|/\*.*?\*/|\d[\w.]*)|(?P<name>{_PART}(?:\.{_PART})*)(?P<call>\s*\()?",
    re.DOTALL,
)
_LAMBDA = re.compile(r"\blambda\s+([\w\s,]+):", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_OF_THE_DATABASE = frozenset(
    {"user", "current_user", "session_user", "current_role", "current_catalog", "current_schema"}
)
"""What DuckDB says of itself where no column has the name; in records it is a column that may be missing."""
_MISSING = re.compile(r'Referenced column "(.*?)" not found', re.DOTALL)


@dataclass(frozen=True)
class _Plan:
    """What a selection does with batches of one schema. used: columns that DuckDB is given; missing: those that are
    NULL; problem: why the expressions cannot be used on such a batch, '' when they can."""

    columns: dict[str, str]
    where: str
    used: list[str]
    missing: list[str]
    problem: str = ""


class Selection:
    """One SQL expression a column, over the rows for which a condition holds; made once, used on every batch.

    The name of a column, also one with dots in it (`id.orig_h`), needs no quotes. A column that a batch lacks is NULL.
    What is only a column's name, or a number, does not pass through DuckDB.

        >>> hosts = Selection({"host": "id.orig_h", "value": "1"}, "bytes > 10", what="summaries.0")
        >>> hosts.select(pa.table({"id.orig_h": ["a", "b"], "bytes": [5, 50]})).columns["host"].to_pylist()
        ['b']
    """

    def __init__(self, columns: dict[str, str], where: str = "", *, what: str, kind: str = "") -> None:
        """Take the expressions. what: whom they belong to, for messages. kind: the record kind, where there is one.

        Raises SettingsError when one is no SQL, calls an unknown function, or is no expression over a single row.
        """
        self.columns = {name: sql.strip() for name, sql in columns.items()}
        self.where = where.strip()
        self.what = what
        self.kind = kind
        self._plans: dict[pa.Schema, _Plan] = {}
        self._warned: set[str] = set()
        for name, sql in (*self.columns.items(), ("where", self.where or "true")):
            if problem := misuse(sql):
                raise SettingsError(f"{what}.{name}: {sql!r}: {problem}")

    def select(self, table: pa.Table) -> Selected:
        """Evaluate over a batch; rows on which an expression fails are set aside with their reason."""
        plain = {name: column for name, sql in self.columns.items() if (column := _plain(table, sql)) is not None}
        mask = _plain(table, self.where) if self.where else None
        if mask is not None and not pa.types.is_boolean(mask.type):
            mask = None
        if (mask is not None or not self.where) and len(plain) == len(self.columns):
            return _picked(table.num_rows, plain, mask)
        found = self._evaluate(table, {name: sql for name, sql in self.columns.items() if name not in plain})
        if len(found.rows) < table.num_rows:
            kept = pa.array(found.rows)
            plain = {name: column.take(kept) for name, column in plain.items()}
        columns = {name: plain[name] if name in plain else found.columns[name] for name in self.columns}
        return Selected(found.rows, columns, found.failed)

    def _evaluate(self, table: pa.Table, columns: dict[str, str]) -> Selected:
        plan = self._plans.get(table.schema)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[table.schema] = _plan(table.schema, columns, self.where)
            self._warn(plan, table.column_names)
        if plan.problem:
            return _all_failed(table.num_rows, columns, plan.problem)
        given = table.select(plan.used)
        for name in plan.missing:
            given = given.append_column(name, pa.nulls(table.num_rows))
        try:
            return run(own_connection(), given, plan.columns, plan.where)
        except MISUSES as error:
            return _all_failed(table.num_rows, columns, _said(error))

    def _warn(self, plan: _Plan, known: list[str]) -> None:
        """Tell once of each column that is not there: unless it is usual for the kind, it may be a slip of the pen."""
        for name in [name for name in (*plan.missing, plan.problem) if name and name not in self._warned]:
            self._warned.add(name)
            if name == plan.problem:
                log.warning("%s: rows are set aside that it does not fit: %s", self.what, name)
                continue
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            level = logging.DEBUG if is_usual(self.kind, name) else logging.WARNING
            log.log(level, "%s: there is no column %r, it counts as NULL%s", self.what, name, hint)


@lru_cache(maxsize=1024)
def misuse(sql: str) -> str | None:
    """Say what is wrong with an expression over single rows, whatever the columns and their types; None: nothing."""
    if not sql.strip():
        return "it is empty"
    if sql.strip(" (").startswith("*"):
        return "it must be one value of a record, not all of its columns"
    if _NUMBER.fullmatch(sql):
        return None
    try:
        if len(own_connection().extract_statements(f"SELECT ({sql})")) != 1:
            return "it is more than one expression"
    except duckdb.Error as error:
        return _said(error)
    problem = _plan(pa.schema([]), {}, f"({sql}) IS NULL").problem  # WHERE takes neither aggregates nor windows
    wrong = ("Parser", "Catalog", "Syntax", "Not implemented")
    if problem.startswith(wrong) or "WHERE clause" in problem or "UNNEST" in problem:
        return problem.replace("WHERE clause", "this expression")
    return None


def columns_of(sql: str) -> list[str]:
    """Return the columns that an expression names."""
    return _plan(pa.schema([]), {"value": sql}, "").missing


def bind(sql: str, schema: pa.Schema) -> tuple[pa.DataType, list[str]]:
    """Return an expression's type over rows of a schema, and the columns it names that are not there.

    Raises SettingsError when it does not fit the columns' types.
    """
    plan = _plan(schema, {"value": sql}, "")
    if plan.problem:
        raise SettingsError(plan.problem)
    given = pa.schema([*(schema.field(name) for name in plan.used), *((name, pa.null()) for name in plan.missing)])
    return run(own_connection(), given.empty_table(), plan.columns).columns["value"].type, plan.missing


def _plan(schema: pa.Schema, columns: dict[str, str], where: str) -> _Plan:
    known = {name.lower(): name for name in reversed(schema.names)}
    names: set[str] = set()
    written = {name: _quoted(sql, known, names) for name, sql in columns.items()}
    condition = _quoted(where, known, names)
    used = [name for name in dict.fromkeys(schema.names) if name.lower() in names]
    missing = sorted(names & _OF_THE_DATABASE - known.keys())
    empty = pa.schema([*(schema.field(name) for name in used), *((name, pa.null()) for name in missing)]).empty_table()
    while True:
        try:
            run(own_connection(), empty, written, condition)
        except MISUSES as error:
            found = _MISSING.search(str(error))
            if found is None or found[1] in missing:
                return _Plan(written, condition, used, missing, _said(error))
            missing.append(found[1])
            empty = empty.append_column(found[1], pa.nulls(0))
        else:
            return _Plan(written, condition, used, missing)


def _quoted(sql: str, known: dict[str, str], names: set[str]) -> str:
    """Quote names with dots that are columns, or nothing else that is known, and collect what is named, lower case."""
    bound = {name.strip() for found in _LAMBDA.findall(sql) for name in found.split(",")}

    def written(match: re.Match[str]) -> str:
        parts = [part.strip('"') for part in re.findall(_PART, match["name"] or "")]
        method = [parts.pop()] if match["call"] and parts else []
        if not parts:
            return match[0]
        ends = [end for end in range(len(parts), 0, -1) if ".".join(parts[:end]).lower() in known]
        end = ends[0] if ends else 1 if parts[0] in bound else len(parts)
        column = ".".join(parts[:end])
        names.add(column.lower())
        first = known.get(column.lower(), column)
        if end == 1:
            return match[0]
        return ".".join(_identifier(part) for part in (first, *parts[end:], *method)) + (match["call"] or "")

    return _TOKEN.sub(written, sql)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(table: pa.Table, sql: str) -> pa.Array | None:
    """Return the values of what is only a column's name, or a number; None when it is more."""
    name = sql[1:-1] if sql[:1] == sql[-1:] == '"' else sql
    if name in table.column_names:
        values = table.column(name)
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    if not _NUMBER.fullmatch(sql):
        return None
    return pa.repeat(float(sql) if "." in sql else int(sql), table.num_rows)


def _picked(count: int, columns: dict[str, pa.Array], mask: pa.Array | None) -> Selected:
    if mask is None:
        return Selected(np.arange(count), columns)
    rows = np.flatnonzero(pc.fill_null(mask, fill_value=False).to_numpy(zero_copy_only=False))
    return Selected(rows, {name: column.take(pa.array(rows)) for name, column in columns.items()})


def _all_failed(count: int, columns: dict[str, str], reason: str) -> Selected:
    nothing = {name: pa.nulls(0) for name in columns}
    return Selected(np.empty(0, np.int64), nothing, dict.fromkeys(range(count), reason))


def _said(error: duckdb.Error) -> str:
    first, *rest = (line.strip() for line in str(error).splitlines())
    return " ".join([first, *(line for line in rest if line.startswith("Did you mean"))])
