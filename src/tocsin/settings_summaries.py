"""Settings of summary statistics: what is counted a key, in which windows, and when it is too much."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, core_schema

from tocsin.errors import SettingsError
from tocsin.records.finding import Severity
from tocsin.settings_section import Section, setting
from tocsin.settings_sinks import SinkSettings

UNITS_S = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEP = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw]|)")


class Duration(float):
    """A length of time in seconds, written 90s, 30m, 1h30m, 1d, or as a number of seconds."""

    word = "duration"
    unlimited = ""
    """What else may be written, for no length at all."""

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read what a person wrote. Raises ValueError."""
        if cls.unlimited and value == cls.unlimited:
            return cls(0)
        text = "" if isinstance(value, bool) else str(value).strip()
        if not text or _STEP.sub("", text).strip():
            also = f", or {cls.unlimited}" if cls.unlimited else ""
            raise ValueError(f"must be a length of time such as 90s, 30m, 1h or 1d{also} (got {value!r})")
        seconds = cls(sum(float(number) * UNITS_S[unit] for number, unit in _STEP.findall(text)))
        if cls.unlimited and not seconds:
            raise ValueError(
                f"must be longer than 0; write {cls.unlimited} for one that ends when told (got {value!r})"
            )
        return seconds

    def written(self) -> float | str:
        """Return what reads as the same again: in the largest unit of which it is a whole number."""
        if self.unlimited and not self:
            return self.unlimited
        sizes = ((unit, round(self / size)) for unit, size in reversed(UNITS_S.items()) if unit)
        return next((f"{count}{unit}" for unit, count in sizes if count and count * UNITS_S[unit] == self), float(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read by `read`, write by `written`."""
        writing = core_schema.plain_serializer_function_ser_schema(cls.written)
        return core_schema.no_info_plain_validator_function(cls.read, serialization=writing)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Tell editors that both text and number will do."""
        return {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]}


class Epoch(Duration):
    """The length of a window, or manual."""

    word = "duration or manual"
    unlimited = "manual"


def _sql(value: Any) -> Any:
    """Take YAML's numbers and truth values as the SQL they are."""
    return str(value).lower() if isinstance(value, bool | int | float) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parts(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"must be names with SQL, such as {{host: id.orig_h}} (got {value!r})")
    return value


Sql = Annotated[str, BeforeValidator(_sql)]
Parts = Annotated[dict[str, Sql], BeforeValidator(_parts)]


class ThresholdSettings(Section):
    """When a key's results are too much; text alone is `sql`."""

    sql: Sql = setting("", "condition over reducers and key parts; `threshold: TEXT` is short for it")
    of: Sql = setting("", "instead of sql: what is compared with the levels, such as a reducer")
    at: list[float] = setting([], "its levels, ascending; each that is reached is told once")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | bool | dict | ThresholdSettings):
            raise ValueError(
                f"must be a condition such as attempts >= 30, or {{of: attempts, at: [30]}} (got {value!r})"
            )
        return {"sql": value} if isinstance(value, str | bool) else value

    @model_validator(mode="after")
    def _whole(self) -> "ThresholdSettings":
        if bool(self.of) != bool(self.at) or (self.sql and self.of):
            raise ValueError("must be a condition, or `of` with the levels `at`: {of: attempts, at: [30, 300]}")
        if any(high <= low for low, high in zip(self.at, self.at[1:], strict=False)):
            raise ValueError(f"levels must ascend (got at: {self.at})")
        return self


class SummaryInputSettings(Section):
    """One stream of records that a summary counts."""

    input: str = setting("", "record kind: flow, zeek.ssh, eve.alert, …, event")
    where: Sql = setting("", "condition for a record to count; all when unset")
    key: Parts = setting({}, "name of a part -> SQL; one key for everything when unset")
    observe: Sql = setting("1", "SQL of the value that is reduced")
    time: Sql = setting("", "SQL of the record's time; what the record kind has, when unset")
    reduce: dict[str, Any] = setting({}, "name of a result -> reducer, or {reducer: SQL, option: value}")


class _Named(Section):
    """The keys that come first."""

    name: str = setting("", "name; the preset's when unset", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$")
    preset: str = setting("", "a summary that comes along (`tocsin summaries list`), to be changed by the other keys")
    enabled: bool = setting(True, "false: leave it alone")


class SummarySettings(SummaryInputSettings, _Named):
    """What is counted a key, and when it is too much. docs/summaries.md tells more."""

    inputs: list[SummaryInputSettings] = setting(
        [], "several streams; input, where, key, observe and time here are for those that do not say"
    )
    epoch: Epoch | None = setting(None, "length of a window")
    every: Duration | None = setting(None, "sliding: a window begins so often; must divide epoch")
    origin: Literal["clock", "first"] = setting("clock", "windows begin at round times, or at the first record's")
    lateness: Duration = setting("5m", "how long a window waits for late records, in the records' own time")
    threshold: ThresholdSettings = setting(ThresholdSettings(), "when it is too much; results only when unset")
    severity: Annotated[list[Severity], BeforeValidator(_listed)] = setting(
        ["medium"], "severity of a finding, or a list of one a level; with one, each further level is one graver"
    )
    title: str = setting("", "what a finding is called; {names} are key parts, reducers, duration, level, entity")
    kind: str = setting("", "kind of the findings; the name when unset")
    entity: str = setting("", "key part that a finding is about; host where there is one, else the first, when unset")
    max_keys: int = setting(1_000_000, "most keys a window holds; then the least valuable go", ge=1)
    max_mb: int = setting(512, "most memory a window takes; then the least valuable keys go", unit="MiB", ge=1)
    new_for: Duration = setting("0s", "judge only keys that were in no window for so long")
    learn: Duration | None = setting(None, "judge nothing before so much record time was seen; new_for when unset")
    results: list[SinkSettings] = setting([], "where each key's results go when a window ends")

    @model_validator(mode="after")
    def _inherited(self) -> "SummarySettings":
        """Let inputs have what stands beside them, where they say nothing themselves."""
        given = [name for name in SummaryInputSettings.model_fields if name in self.model_fields_set]
        for name in given if self.inputs else ():
            if name == "reduce" or all(name in each.model_fields_set for each in self.inputs):
                raise ValueError(f"inputs and {name} are both set; write {name} into each of the inputs")
        for each in self.inputs:
            for name in given:
                if name not in each.model_fields_set:
                    setattr(each, name, getattr(self, name))
        return self


def overridden(entry: SummarySettings, preset: dict[str, Any], what: str) -> SummarySettings:
    """Return a preset with the keys that an entry sets in the place of the preset's.

    what: the entry's own place, for messages. Raises SettingsError when the two do not go together.
    """
    given = entry.model_dump(exclude_unset=True)
    try:
        return SummarySettings(**preset | given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (what, *first["loc"]))
        raise SettingsError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error
