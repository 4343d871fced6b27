"""Novelty detectors out of the settings, checked: what is wrong is told by key before any record is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.detectors.novelty.options import Options
from tocsin.errors import SettingsError
from tocsin.records.kinds import KIND, host_of, time_of
from tocsin.records.selection import columns_of, misuse
from tocsin.records.usual import is_usual, nearest_usual
from tocsin.settings_novelty import NoveltySettings

_COLUMN = re.compile(r'[A-Za-z_][\w.]*|"[^"]+"')
_KEYS = {
    "fields": "observe",
    "half_life": "half_life_records",
    "half_life_s": "half_life",
    "window": "window_records",
    "window_s": "window",
}
"""How options of a context are called in the settings."""


@dataclass(frozen=True)
class Definition:
    """What a novelty detector observes of which records, and when it tells.

    kind: of the records. observe: SQL of each component. entity: SQL of whom a finding is about, '' for the detector
    itself. time: SQL of the record's time. threshold: the score, 0 to 1, from which a record is told. finding_kind: of
    the findings. place: where it stands in the settings, for messages.
    """

    name: str
    kind: str
    observe: tuple[str, ...]
    where: str
    entity: str
    time: str
    threshold: float
    finding_kind: str
    options: Options
    place: str = ""

    @property
    def plain(self) -> dict[int, str]:
        """The components that are a column's value as it stands: index -> name of the column."""
        return {at: sql.strip('"') for at, sql in enumerate(self.observe) if _COLUMN.fullmatch(sql)}


def build(entries: Sequence[NoveltySettings]) -> tuple[Definition, ...]:
    """Make the detectors that are enabled.

    Raises SettingsError with a line for each that is wrong: its first wrong key, as `novelty.0.observe`.
    """
    built: list[Definition] = []
    problems: list[str] = []
    for at, entry in enumerate(entries):
        if not entry.enabled:
            continue
        try:
            made = definition(entry, f"novelty.{at}")
            if any(other.name == made.name for other in built):
                raise SettingsError(f"novelty.{at}.name: there is a novelty detector {made.name!r} already")
            built.append(made)
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return tuple(built)


def definition(entry: NoveltySettings, what: str) -> Definition:
    """Make one detector; what: its place in the settings. Raises SettingsError."""
    if not entry.name:
        raise SettingsError(f"{what}.name: must be set")
    if not KIND.fullmatch(entry.input):
        said = f"is no record kind (got {entry.input!r})" if entry.input else "must be set"
        raise SettingsError(f"{what}.input: {said}; such as flow, zeek.ssh, eve.dns, event")
    if not entry.observe:
        raise SettingsError(f"{what}.observe: must name the values to learn, such as [proto, service, dport]")
    observe = tuple(sql.strip() for sql in entry.observe)
    named = {f"observe.{at}": sql for at, sql in enumerate(observe)}
    for key, sql in (named | {"where": entry.where, "entity": entry.entity, "time": entry.time}).items():
        problem = misuse(sql) if sql.strip() or key in named else None
        if problem:
            raise SettingsError(f"{what}.{key}: {sql!r}: {problem}")
    return Definition(
        name=entry.name,
        kind=entry.input,
        observe=observe,
        where=entry.where,
        entity=entry.entity or host_of(entry.input),
        time=entry.time or time_of(entry.input),
        threshold=entry.threshold,
        finding_kind=entry.kind or entry.name,
        options=_options(entry, observe, what),
        place=what,
    )


def doubts(definition: Definition) -> list[tuple[str, str]]:
    """Return the columns that a detector names and its records hardly have, each with the one that may be meant."""
    found: dict[str, str] = {}
    for sql in filter(None, [definition.where, definition.entity, *definition.observe]):
        for name in columns_of(sql):
            near = None if is_usual(definition.kind, name) else nearest_usual(definition.kind, name)
            if near:
                found[name] = near
    return list(found.items())


def _options(entry: NoveltySettings, observe: tuple[str, ...], what: str) -> Options:
    try:
        return Options.of(
            {
                "order": entry.order,
                "fields": observe,
                "max_entries": entry.max_entries,
                "half_life": entry.half_life_records,
                "half_life_s": None if entry.half_life is None else float(entry.half_life),
                "window": entry.window_records,
                "window_s": None if entry.window is None else float(entry.window),
                "bins": {name: each.model_dump(exclude_unset=True) for name, each in entry.bins.items()},
                "warm_up": entry.warm_up,
            }
        )
    except SettingsError as error:
        keys, colon, said = str(error).partition(":")
        keys = " and ".join(f"{what}.{_KEYS.get(key, key)}" for key in keys.split(" and "))
        raise SettingsError(f"{keys}{colon}{said}") from error
