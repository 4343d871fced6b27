"""Summaries out of the settings, checked: what is wrong is told by key before any record is read."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from tocsin.detectors.summary.condition import Condition, growing
from tocsin.detectors.summary.definition import SECOND_US, Input, Reducer, Summary
from tocsin.detectors.summary.presets import PRESETS
from tocsin.detectors.summary.reducers import RESULTS, read_reducer
from tocsin.detectors.summary.titles import check_title, default_title
from tocsin.errors import SettingsError
from tocsin.records.finding import SEVERITIES, Severity
from tocsin.records.kinds import KIND, time_of
from tocsin.records.selection import bind, columns_of, misuse
from tocsin.records.usual import is_usual, nearest_usual
from tocsin.settings_summaries import SummaryInputSettings, SummarySettings, overridden

MOST_STEPS = 60
"""Windows that a record may be in."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OF_THE_TITLE = ("duration", "level", "entity")


def build(entries: Sequence[SummarySettings]) -> tuple[Summary, ...]:
    """Make the summaries that are enabled.

    Raises SettingsError with a line for each that is wrong: its first wrong key, as `summaries.0.threshold`.
    """
    built: list[Summary] = []
    problems: list[str] = []
    for what, entry in _enabled(entries):
        try:
            built.append(summary(resolve(entry, what), what))
            if any(other.name == built[-1].name for other in built[:-1]):
                raise SettingsError(f"{what}.name: there is a summary {built[-1].name!r} already")
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return tuple(built)


def doubts(summary: Summary) -> list[tuple[str, str]]:
    """Return the columns that a summary names and its records hardly have, each with the one that may be meant."""
    found: dict[str, str] = {}
    for each in summary.inputs:
        of = [reducer.of for reducer in each.reduce] + [reducer.options.get("by", "") for reducer in each.reduce]
        for sql in filter(None, [each.where, each.observe, each.time, *each.key.values(), *of]):
            for name in columns_of(sql):
                near = None if is_usual(each.kind, name) else nearest_usual(each.kind, name)
                if near:
                    found[name] = near
    return list(found.items())


def resolved(entries: Sequence[SummarySettings]) -> list[SummarySettings]:
    """Return the settings of the summaries that are enabled, with their presets filled in. Raises SettingsError."""
    return [resolve(entry, what) for what, entry in _enabled(entries)]


def resolve(entry: SummarySettings, what: str = "summaries.0") -> SummarySettings:
    """Fill in an entry's preset. Raises SettingsError when there is no such preset."""
    if not entry.preset:
        return entry
    if entry.preset not in PRESETS:
        raise SettingsError(f"{what}.preset: there is no preset {entry.preset!r}{_meant(entry.preset, PRESETS)}")
    return overridden(entry, {"name": entry.preset} | PRESETS[entry.preset].settings, what)


def summary(entry: SummarySettings, what: str = "summaries.0") -> Summary:
    """Make a summary of settings whose preset is filled in. Raises SettingsError."""
    if not entry.name:
        raise SettingsError(f"{what}.name: must be set")
    streams = [(f"{what}.inputs.{at}", each) for at, each in enumerate(entry.inputs)] or [(what, entry)]
    inputs = tuple(_input(each, place) for place, each in streams)
    parts = tuple(inputs[0].key)
    for (place, _), each in zip(streams, inputs, strict=True):
        if set(each.key) != set(parts):
            raise SettingsError(
                f"{place}.key: must have the same parts as the first input: {', '.join(parts) or 'none'}"
            )
    inputs = tuple(replace(each, key={part: each.key[part] for part in parts}) for each in inputs)
    reducers = [reducer for each in inputs for reducer in each.reduce]
    _different([*parts, *(reducer.name for reducer in reducers)], what)
    window_us, step_us = _windows(entry, what)
    condition = _condition(entry, reducers, parts, what)
    made = Summary(
        name=entry.name,
        inputs=inputs,
        key_parts=parts,
        window_us=window_us,
        step_us=step_us,
        origin=entry.origin,
        lateness_us=_us(entry.lateness),
        condition=condition,
        levels=tuple(entry.threshold.at),
        severities=_severities(entry, what),
        kind=entry.kind or entry.name,
        title=entry.title,
        entity=_entity(entry, parts, what),
        max_keys=entry.max_keys,
        max_bytes=entry.max_mb << 20,
        new_for_us=_us(entry.new_for),
        learn_us=_us(entry.new_for if entry.learn is None else entry.learn),
    )
    if made.new_for_us and (condition is None or not parts):
        raise SettingsError(f"{what}.new_for: needs a key and a threshold, such as one of a count: attempts >= 1")
    check_title(made, f"{what}.title")
    return made if made.title else replace(made, title=default_title(made))


def _enabled(entries: Sequence[SummarySettings]) -> list[tuple[str, SummarySettings]]:
    return [(f"summaries.{at}", entry) for at, entry in enumerate(entries) if entry.enabled]


def _input(each: SummaryInputSettings, what: str) -> Input:
    if not KIND.fullmatch(each.input):
        said = f"is no record kind (got {each.input!r})" if each.input else "must be set"
        raise SettingsError(f"{what}.input: {said}; such as flow, zeek.ssh, eve.alert, event")
    time = each.time or time_of(each.input)
    for name in (*each.key, *each.reduce):
        _check_name(name, f"{what}.{'key' if name in each.key else 'reduce'}.{name}")
    expressions = {f"key.{part}": sql for part, sql in each.key.items()} | {"observe": each.observe, "time": time}
    if each.where.strip():
        expressions["where"] = each.where
    for name, sql in expressions.items():
        _check_sql(sql, f"{what}.{name}")
    if not each.reduce:
        raise SettingsError(f"{what}.reduce: must name a result at least, such as {{attempts: count}}")
    reducers = [read_reducer(name, value, each, f"{what}.reduce.{name}") for name, value in each.reduce.items()]
    for reducer in reducers:
        for sql in filter(None, (reducer.of, reducer.options.get("by"))):
            _check_sql(sql, f"{what}.reduce.{reducer.name}")
    return Input(each.input, each.where.strip(), dict(each.key), each.observe, time, tuple(reducers))


def _check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError(f"{what}: {name!r} must be of letters, digits and _, and not begin with a digit")
    if name in OF_THE_TITLE:
        raise SettingsError(f"{what}: {name!r} has a meaning of its own in titles; take another name")


def _check_sql(sql: str, what: str) -> None:
    if problem := misuse(sql):
        raise SettingsError(f"{what}: {sql!r}: {problem}")


def _different(names: list[str], what: str) -> None:
    lower = [name.lower() for name in names]
    for at, name in enumerate(lower):
        if name in lower[:at]:
            raise SettingsError(f"{what}: {names[at]!r} is the name of two key parts or results; give each its own")


def _windows(entry: SummarySettings, what: str) -> tuple[int, int]:
    if entry.epoch is None:
        raise SettingsError(f"{what}.epoch: must be set, such as 30m, or manual")
    window_us, step_us = _us(entry.epoch), _us(entry.epoch if entry.every is None else entry.every)
    if entry.every is None:
        return window_us, step_us
    if not window_us:
        raise SettingsError(f"{what}.every: goes with an epoch that has a length, not with a manual one")
    if not step_us or window_us % step_us:
        raise SettingsError(f"{what}.every: must divide epoch ({entry.epoch:g} s) without rest (got {entry.every:g} s)")
    if window_us // step_us > MOST_STEPS:
        least = entry.epoch / MOST_STEPS
        raise SettingsError(f"{what}.every: must be {least:g} s at least, epoch / {MOST_STEPS} (got {entry.every:g} s)")
    return window_us, step_us


def _us(seconds: float) -> int:
    return round(seconds * SECOND_US)


def _condition(
    entry: SummarySettings, reducers: Sequence[Reducer], parts: tuple[str, ...], what: str
) -> Condition | None:
    threshold = entry.threshold
    sql = (threshold.of or threshold.sql).strip()
    if not sql:
        return None
    place = f"{what}.threshold.of" if threshold.of else f"{what}.threshold"
    _check_sql(sql, place)
    kinds = {reducer.name: reducer.kind for reducer in reducers}
    schema = pa.schema(
        [*((part, pa.string()) for part in parts), *((name, RESULTS[kind]) for name, kind in kinds.items())]
    )
    try:
        kind, missing = bind(sql, schema)
    except SettingsError as error:
        raise SettingsError(f"{place}: {sql!r}: {error}") from error
    if missing:
        raise SettingsError(f"{place}: {missing[0]!r} is no key part and no result{_meant(missing[0], schema.names)}")
    if not threshold.of and not pa.types.is_boolean(kind):
        raise SettingsError(f"{place}: {sql!r} must be true or false, such as {next(iter(kinds))} >= 30")
    if threshold.of and not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise SettingsError(f"{place}: {sql!r} must be a number")
    found = growing(f"{sql} >= {threshold.at[0]!r}" if threshold.of else sql, kinds)
    for guard in found.guards() if found else ():
        _reachable(guard.name, max([guard.least, *threshold.at]), reducers, place)
    # Whether a key is new is known only when every window before its own is over: then nothing is told early.
    return Condition(sql, None if entry.new_for else found)


def _reachable(name: str, goal: float, reducers: Iterable[Reducer], what: str) -> None:
    for reducer in reducers:
        if reducer.name == name and goal > reducer.options.get("max", goal):
            most = reducer.options["max"]
            raise SettingsError(
                f"{what}: {name} counts no further than its max, {most:,}, and never gets to {goal:,.15g}"
            )


def _severities(entry: SummarySettings, what: str) -> tuple[Severity, ...]:
    levels = max(len(entry.threshold.at), 1)
    given = entry.severity
    if len(given) == levels:
        return tuple(given)
    if len(given) != 1:
        raise SettingsError(f"{what}.severity: must be one, or one a level ({levels}); got {len(given)}")
    first = SEVERITIES.index(given[0])
    return tuple(SEVERITIES[min(first + above, len(SEVERITIES) - 1)] for above in range(levels))


def _entity(entry: SummarySettings, parts: tuple[str, ...], what: str) -> str:
    if entry.entity and entry.entity not in parts:
        raise SettingsError(f"{what}.entity: {entry.entity!r} is no key part{_meant(entry.entity, parts)}")
    return entry.entity or ("host" if "host" in parts else parts[0] if parts else "")


def _meant(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f" (there is: {', '.join(known) or 'none'})"
