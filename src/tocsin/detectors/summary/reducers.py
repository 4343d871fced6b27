"""Reducers as the settings write them: `sum`, or `{unique: "id.resp_h", max: 1000}`."""

import difflib
import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pyarrow as pa

from tocsin.detectors.summary.accumulator import NUMERIC, REDUCERS
from tocsin.detectors.summary.definition import Reducer
from tocsin.errors import SettingsError
from tocsin.settings_summaries import SummaryInputSettings

_TIME = pa.timestamp("us", "UTC")
_COUNTED = pa.struct([("value", pa.string()), ("count", pa.int64()), ("error", pa.int64())])

RESULTS: dict[str, pa.DataType] = {
    **dict.fromkeys(REDUCERS, pa.float64()),
    **dict.fromkeys(("count", "unique", "hll_unique"), pa.int64()),
    **dict.fromkeys(("first_seen", "last_seen"), _TIME),
    **dict.fromkeys(("sample", "last"), pa.list_(pa.string())),
    "topk": pa.list_(_COUNTED),
}
"""What a reducer's result is to a condition."""

VALUELESS = frozenset({"count", "first_seen", "last_seen", "regularity"})
"""Reducers that look at no value."""

MOST_REGISTERS = 1 << 22
"""Of a HyperLogLog."""


@dataclass(frozen=True)
class Bounds:
    """What an option may be."""

    least: float
    most: float
    whole: bool = True

    def allows(self, value: Any) -> bool:
        """Tell whether a value may be taken."""
        kinds = int if self.whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.least <= value <= self.most

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.least:,} to {self.most:,}"


BOUNDS: dict[tuple[str, str], Bounds] = {
    ("unique", "max"): Bounds(1, 100_000_000),
    ("hll_unique", "error"): Bounds(0.001, 0.5, whole=False),
    ("hll_unique", "confidence"): Bounds(0.5, 0.9999, whole=False),
    ("quantile", "q"): Bounds(0, 1, whole=False),
    ("quantile", "error"): Bounds(0.0005, 0.5, whole=False),
    ("topk", "size"): Bounds(1, 100_000),
    ("topk", "shown"): Bounds(1, 1000),
    ("sample", "size"): Bounds(1, 10_000),
    ("last", "size"): Bounds(1, 10_000),
    ("regularity", "size"): Bounds(4, 100_000),
}


def read_reducer(name: str, value: Any, stream: SummaryInputSettings, what: str) -> Reducer:
    """Read one entry of `reduce`. Raises SettingsError."""
    kind, of, options = _parts(value, what)
    known = REDUCERS[kind][1]
    for option, given in options.items():
        if option not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no options"
            raise SettingsError(f"{what}: {option!r} is no option of {kind}, which {takes}")
        bounds = BOUNDS.get((kind, option))
        if bounds is not None and not bounds.allows(given):
            raise SettingsError(f"{what}: {option} must be {bounds} (got {given!r})")
    if kind == "hll_unique":
        _affordable(**(known | options), what=what)
    if "by" in options:
        options["by"] = _sql(options["by"])
    if not of and kind not in NUMERIC | VALUELESS and _constant(stream.observe):
        raise SettingsError(f"{what}: must say what of: {{{kind}: SQL}}, such as {{{kind}: id.resp_h}}")
    return Reducer(name, kind, of, known | options)


def _affordable(error: float, confidence: float, what: str) -> None:
    """Raise SettingsError when a HyperLogLog cannot be so exact; its standard error is 1.04 / √registers."""
    least = 1.04 * NormalDist().inv_cdf((1 + confidence) / 2) / MOST_REGISTERS**0.5
    if error < least:
        raise SettingsError(f"{what}: error must be {least:.4f} or more at confidence {confidence:g} (got {error:g})")


def _parts(value: Any, what: str) -> tuple[str, str, dict[str, Any]]:
    """Return kind, expression ('' where none is given) and options."""
    given = {value: None} if isinstance(value, str) else value
    if not isinstance(given, dict) or not given:
        raise SettingsError(f"{what}: must be a reducer or a map {{reducer: SQL, option: value}} (got {value!r})")
    kinds = [key for key in given if key in REDUCERS]
    if not kinds:
        first = str(next(iter(given)))
        near = difflib.get_close_matches(first, REDUCERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(REDUCERS)}"
        raise SettingsError(f"{what}: {first!r} is no reducer; {hint}")
    # `max` is a reducer, and an option of `unique`.
    kind = next((key for key in kinds if given.keys() - {key} <= REDUCERS[key][1].keys()), kinds[0])
    return kind, _sql(given[kind]), {str(key): option for key, option in given.items() if key != kind}


def _sql(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _constant(sql: str) -> bool:
    return bool(re.fullmatch(r"-?[\d.]+", sql.strip()))
