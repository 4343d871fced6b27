"""What a context may be told about its observations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tocsin.errors import SettingsError

ORDERS = ("given", "auto")
MOST_COMPONENTS = 32
MOST_BINS = 256


@dataclass(frozen=True)
class Bins:
    """How a numeric component becomes a category: by declared edges, or by quantiles learned from the first values.

    edges: rising bounds; a value belongs to the bin that begins at the greatest edge not above it. quantiles: how many
    bins of about equal size to learn. Values that are no numbers stay as they are.
    """

    edges: tuple[float, ...] = ()
    quantiles: int = 0

    def __post_init__(self) -> None:
        if bool(self.edges) == bool(self.quantiles):
            raise SettingsError("bins: give either edges (rising numbers) or quantiles (how many bins to learn)")
        if self.quantiles and not 2 <= self.quantiles <= MOST_BINS:
            raise SettingsError(f"bins.quantiles: {self.quantiles} is not between 2 and {MOST_BINS}")
        if len(self.edges) > MOST_BINS or not all(math.isfinite(edge) for edge in self.edges):
            raise SettingsError(f"bins.edges: at most {MOST_BINS} finite numbers")
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise SettingsError(f"bins.edges: {list(self.edges)} must rise")


@dataclass(frozen=True)
class Options:
    """A context's options; what is not given keeps everything and follows the order of the components.

    order: `given` judges each component given those before it; `auto` judges each given every other and all others,
      so that the order of the columns makes no difference.
    fields: names of the components, in order; none means that they have numbers only.
    max_entries: table entries kept; the least seen combinations are folded into "others" beyond.
    half_life: observations after which an observation counts half; half_life_s: the same in seconds.
    window: newest observations that count; window_s: the same in seconds. Old ones leave in eighths of the window.
    bins: numeric components by name or index.
    warm_up: observations before scores are to be trusted.
    """

    order: str = "given"
    fields: tuple[str, ...] = ()
    max_entries: int = 2_000_000
    half_life: float | None = None
    half_life_s: float | None = None
    window: int | None = None
    window_s: float | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)
    warm_up: int = 1000

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise SettingsError(f"order: {self.order!r} is neither of {', '.join(ORDERS)}")
        if len(self.fields) > MOST_COMPONENTS:
            raise SettingsError(f"fields: {len(self.fields)} of them; an observation has at most {MOST_COMPONENTS}")
        for at, name in enumerate(self.fields):
            if name in self.fields[:at]:
                raise SettingsError(f"fields: {name!r} is there twice")
        if not 1000 <= self.max_entries <= 500_000_000:
            raise SettingsError(f"max_entries: {self.max_entries} is not between 1,000 and 500,000,000")
        if self.warm_up < 0:
            raise SettingsError(f"warm_up: {self.warm_up} is negative")
        ways = {name: getattr(self, name) for name in ("half_life", "half_life_s", "window", "window_s")}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise SettingsError(f"{' and '.join(given)}: give only one of them")
        for name in given:
            least = 100 if name in ("half_life", "window") else 1
            if not least <= ways[name] < math.inf:
                raise SettingsError(f"{name}: {ways[name]} must be {least} or more")
        for name in self.bins:
            if name not in self.fields and not (name.isdecimal() and int(name) < MOST_COMPONENTS):
                raise SettingsError(
                    f"bins.{name}: there is no such field; fields are {', '.join(self.fields) or 'numbered'}"
                )

    def index_of(self, name: str) -> int:
        """Return the index of a component by its name or its number."""
        return self.fields.index(name) if name in self.fields else int(name)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as JSON values; `of` reads them."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        bins = {name: _bins_dict(each) for name, each in sorted(self.bins.items())}
        return {**plain, "fields": list(self.fields), "bins": bins}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Options":
        """Read options from JSON values. Raises SettingsError, naming the key."""
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise SettingsError(f"{unknown[0]}: there is no such option; options are {', '.join(sorted(known))}")
        try:
            bins = {str(name): _bins_of(each, str(name)) for name, each in (document.get("bins") or {}).items()}
            names = tuple(str(name) for name in document.get("fields") or ())
            rest = {name: value for name, value in document.items() if name not in ("bins", "fields")}
            for name, value in rest.items():
                if (
                    name != "order"
                    and value is not None
                    and (isinstance(value, bool) or not isinstance(value, int | float))
                ):
                    raise SettingsError(f"{name}: {value!r} is no number")
            for name in ("max_entries", "warm_up", "window"):
                if rest.get(name) is not None:
                    rest[name] = int(rest[name])
            return cls(**rest, fields=names, bins=bins)
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            raise SettingsError(f"these are no options of a context: {error}") from error


def _bins_dict(bins: Bins) -> dict[str, Any]:
    return {"edges": list(bins.edges)} if bins.edges else {"quantiles": bins.quantiles}


def _bins_of(document: Any, name: str) -> Bins:
    if isinstance(document, Bins):
        return document
    if unknown := sorted(set(document) - {"edges", "quantiles"}):
        raise SettingsError(f"bins.{name}.{unknown[0]}: there is no such key; give edges or quantiles")
    try:
        return Bins(tuple(float(edge) for edge in document.get("edges") or ()), int(document.get("quantiles") or 0))
    except SettingsError as error:
        raise SettingsError(str(error).replace("bins", f"bins.{name}", 1)) from error
