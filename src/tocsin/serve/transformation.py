"""A transformation: SQL over an incoming record that makes an observation of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.options import MOST_COMPONENTS
from tocsin.detectors.novelty.texts import texts
from tocsin.errors import InputError, SettingsError
from tocsin.records.bounded import beyond
from tocsin.records.selection import Selection, misuse
from tocsin.serve.incoming import said
from tocsin.serve.problems import Problem
from tocsin.sources.jsonlines import as_text, leaves

EXPLAINED = 100
"""Failed records of one request for which the expression that failed is looked for."""

MOST_CHARACTERS = 10_000
_WHOLE = range(-(2**63), 2**63)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Picked:
    """What a transformation makes of n records.

    places: (m,) positions of the records that gave an observation, ascending. columns: L arrays of m texts.
    wrong: what is wrong with others, by position. What is in neither was left out by `where`.
    """

    places: np.ndarray
    columns: list[pa.Array]
    wrong: dict[int, Problem] = field(default_factory=dict)


@dataclass(frozen=True)
class Transformation:
    """SQL of each component, and of the condition under which a record is observed at all.

        >>> each = Transformation(("proto", "resp_port // 1000"), where="proto <> 'icmp'")
        >>> each.apply([{"proto": "tcp", "resp_port": 8080}, {"proto": "icmp"}]).columns[1].to_pylist()
        ['8']

    A field inside another is named with a dot; a field that a record lacks is NULL. What a record gives does not depend
    on the records beside it. Raises SettingsError, naming `observe.1`, where an expression is none.
    """

    observe: tuple[str, ...]
    where: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.observe) <= MOST_COMPONENTS:
            raise SettingsError(f"observe: 1 to {MOST_COMPONENTS} SQL expressions, not {len(self.observe)}")
        for name, sql in self._named().items():
            if len(sql) > MOST_CHARACTERS:
                raise SettingsError(f"{name}: an expression has at most {MOST_CHARACTERS:,} characters")
            if problem := beyond(sql) or misuse(sql):
                raise SettingsError(f"{name}: {sql!r}: {problem}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"observe": list(self.observe), "where": self.where}

    def apply(self, records: Sequence[Any]) -> Picked:
        """Make observations of records, JSON objects."""
        wrong: dict[int, Problem] = {}
        groups: dict[tuple[Any, ...], list[tuple[int, dict[str, Any]]]] = {}
        for place, record in enumerate(records):
            try:
                flat = _flat(record)
            except ValueError as error:
                wrong[place] = Problem(422, detail=str(error), field=f"[{place}]", remedy="send JSON objects")
            else:
                groups.setdefault(tuple((name, type(value)) for name, value in flat.items()), []).append((place, flat))
        parts = [self._of_group(group, wrong) for group in groups.values()]
        if not parts:
            return Picked(np.empty(0, np.int64), [pa.array([], pa.string()) for _ in self.observe], wrong)
        places = np.concatenate([places for places, _ in parts])
        order = np.argsort(places, kind="stable")
        columns = [pa.concat_arrays(each).take(order) for each in zip(*(columns for _, columns in parts), strict=True)]
        return Picked(places[order], columns, wrong)

    def _of_group(
        self, group: list[tuple[int, dict[str, Any]]], wrong: dict[int, Problem]
    ) -> tuple[np.ndarray, list[pa.Array]]:
        """Return positions and columns of records whose fields are of the same types."""
        table = _table([flat for _, flat in group])
        found = self._selection.select(table)
        for row, reason in found.failed.items():
            place = group[row][0]
            wrong[place] = self._problem(table.slice(row, 1), place, reason, explain=len(wrong) < EXPLAINED)
        places = np.array([place for place, _ in group], np.int64)[found.rows]
        return places, [texts(found.columns[name]) for name in self._selection.columns]

    def _problem(self, row: pa.Table, place: int, reason: str, *, explain: bool) -> Problem:
        name, sql = next(self._failing(row), ("", "")) if explain else ("", "")
        more = {"expression": sql, "in": name} if sql else {}
        detail = f"{name}: {sql!r}: {reason}" if sql else reason
        remedy = "make the expression fit such a record (try_cast gives NULL for what is no number), or leave it out"
        return Problem(422, detail=detail, field=f"[{place}]", remedy=remedy, more=more)

    def _failing(self, row: pa.Table) -> Iterator[tuple[str, str]]:
        """Yield the expressions that fail on a record."""
        for name, sql in self._named().items():
            if Selection({"value": sql}, what="transformation").select(row).failed:
                yield name, sql

    def _named(self) -> dict[str, str]:
        named = {f"observe.{index}": sql for index, sql in enumerate(self.observe)}
        return named | ({"where": self.where} if self.where.strip() else {})

    @cached_property
    def _selection(self) -> Selection:
        columns = {f"c{index}": sql for index, sql in enumerate(self.observe)}
        return Selection(columns, self.where, what="transformation")


def transformation_of(document: Mapping[str, Any]) -> Transformation:
    """Read what `to_dict` returned. Raises SettingsError, naming the key."""
    if unknown := sorted(set(document) - {"observe", "where"}):
        raise SettingsError(f"{unknown[0]}: there is no such key; a transformation has observe and where")
    observe, where = document.get("observe"), document.get("where", "")
    if not isinstance(observe, list) or not all(isinstance(sql, str) for sql in observe):
        raise SettingsError("observe: a list of SQL expressions is needed, one a component")
    if not isinstance(where, str):
        raise SettingsError("where: an SQL condition is needed, or nothing")
    return Transformation(tuple(observe), where)


def check_name(name: str) -> str:
    """Return a transformation's name. Raises InputError with the rule."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name: 1 to 64 letters, digits, '.', '_', '-', a letter or digit first")
    return name


def _flat(record: Any) -> dict[str, Any]:
    """Return a record's fields that say something, those inside others too. Raises ValueError saying what it is."""
    if not isinstance(record, dict):
        raise ValueError(f"a record is an object, not {said(record)}")
    try:
        return {name: plain for name, value in leaves(record) if (plain := _plain(value)) is not None}
    except RecursionError as error:
        raise ValueError("this record is nested too deeply") from error


def _plain(value: Any) -> Any:
    """Return a field as what Arrow takes without a doubt about its type."""
    if isinstance(value, bool | str | float) or value is None or (isinstance(value, int) and value in _WHOLE):
        return value
    return as_text(value)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    if not rows[0]:
        return pa.table({"tocsin_nothing": pa.nulls(len(rows))})
    names = list(rows[0])
    return pa.table([pa.array([row[name] for row in rows]) for name in names], names=names)
