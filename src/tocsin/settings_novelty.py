"""Settings of novelty detectors: which values of which records belong together, and from when on they are unusual."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from tocsin.settings_section import Section, setting
from tocsin.settings_summaries import Duration, Sql


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class BinSettings(Section):
    """How a number becomes a category."""

    word: ClassVar[str] = "edges or quantiles"

    edges: list[float] = setting([], "rising bounds of the bins")
    quantiles: int = setting(0, "instead of edges: how many bins of equal size to learn", ge=0, le=256)


class NoveltySettings(Section):
    """Which records' values are learned, and how novel a combination must be to be told. docs/novelty.md tells more."""

    name: str = setting("", "name, also in the findings", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,62})?$")
    enabled: bool = setting(True, "false: leave it alone")
    input: str = setting("", "record kind: flow, zeek.ssh, eve.dns, …, event")
    observe: Annotated[list[Sql], BeforeValidator(_listed)] = setting(
        [], "SQL of each component of an observation, the most general first"
    )
    where: Sql = setting("", "condition for a record to be observed; all when unset")
    entity: Sql = setting("", "SQL of whom a finding is about; the record's own host where it has one, when unset")
    time: Sql = setting("", "SQL of the record's time; what the record kind has, when unset")
    order: Literal["given", "auto"] = setting("given", "each component given those before it, or given all others")
    threshold: float = setting(0.999, "score from which a record is told; 0.999: one in a thousand", gt=0, le=1)
    kind: str = setting("", "kind of the findings; the name when unset")
    warm_up: int = setting(1000, "records it learns from before it tells any", unit="records", ge=0)
    half_life: Duration | None = setting(None, "time after which what was seen counts half; for good when unset")
    half_life_records: int | None = setting(None, "the same in records", unit="records", ge=100)
    window: Duration | None = setting(None, "only what was seen in so long counts; everything when unset")
    window_records: int | None = setting(None, "the same in records", unit="records", ge=100)
    max_entries: int = setting(
        2_000_000, "most combinations of values it knows; then the least seen go", ge=1000, le=500_000_000
    )
    bins: dict[str, BinSettings] = setting(
        {}, "numbers as categories: the SQL under observe, or its index -> edges or quantiles"
    )
