"""What a crossing tells the verdict: title, score, reasons, and what makes it a finding of its own."""

import json
import math
import re
import string
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.detectors.summary.condition import Guard
from tocsin.detectors.summary.definition import SECOND_US, Summary
from tocsin.detectors.summary.messages import Crossing
from tocsin.records.finding import SEVERITIES, Candidate, Reason, Severity, rfc3339
from tocsin.records.times import from_us

DETECTOR = "summary"

MOST_RECORDS = 20

_COLUMN = re.compile(r'[A-Za-z_][\w.]*|"[^"]+"')
_TEXT = re.compile(r"'[^']*'")


def candidate(summary: Summary, crossing: Crossing, cutoffs: Sequence[float]) -> Candidate:
    """Return what a key's crossing proposes to the verdict; each key of each window (if not sliding) is one finding.

    cutoffs: (4,) least scores of low, medium, high and critical, ascending, 0 to 100.
    """
    named = _named(summary)
    return Candidate(
        detector=DETECTOR,
        kind=summary.kind or summary.name,
        entity=_entity(summary, crossing),
        start=crossing.begin,
        end=crossing.end,
        raw=_raw(crossing, named),
        score=_score(summary, crossing, cutoffs),
        title=title(summary, crossing),
        reasons=_reasons(summary, crossing, named),
        records=crossing.examples[:MOST_RECORDS],
        record_count=crossing.records,
        scope=_scope(summary, crossing),
        about=_about(summary, crossing),
        explicit=True,
    )


def title(summary: Summary, crossing: Crossing) -> str:
    """Write a crossing in the summary's words."""
    given = {
        **crossing.values,
        **crossing.key,
        "duration": words((crossing.end - crossing.begin).total_seconds()),
        "level": crossing.levels[-1] if crossing.levels else None,
    }
    form = summary.title or "{entity}: " + summary.name.replace("{", "{{").replace("}", "}}")
    return _Lenient().vformat(form, (), {"entity": _entity(summary, crossing), **given})


def plain(value: Any) -> str:
    """Write a value for people: nothing as '-', what differs in a list joined, whole numbers without a point."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return (
            f"{plain(value['value'])} ({plain(value.get('count'))})"
            if "value" in value
            else json.dumps(value, default=str, ensure_ascii=False)
        )
    if isinstance(value, list | tuple):
        return ", ".join(dict.fromkeys(plain(item) for item in value)) or "-"
    return str(value)


def words(seconds: float, minute: str = "m") -> str:
    """Write a length of time by its two largest units: 37 s, 4 m 12 s, 2 h 5 m, 3 d 4 h."""
    rest = max(round(seconds), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), (minute, 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts.append((count, unit))
    first = next((at for at, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


class _Lenient(string.Formatter):
    """Formats names and specifications only, and writes a value that a specification does not fit as it is."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs.get(field_name), field_name

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        if not format_spec or value is None or isinstance(value, list | tuple | Mapping):
            return plain(value)
        try:
            return format(value, format_spec)
        except (ValueError, TypeError, OverflowError):
            return plain(value)


def _entity(summary: Summary, crossing: Crossing) -> str:
    return plain(crossing.key.get(summary.entity)) if summary.entity else summary.name


def _about(summary: Summary, crossing: Crossing) -> str:
    """Name summary, window and the rest of the key.

    Of sliding windows those that begin within one length of a window are told together: what one attack does in
    several of them is one finding, two at most.
    """
    length = summary.window_us if summary.step_us < summary.window_us else 1
    window = rfc3339(from_us(crossing.window // length * length))
    rest = {part: value for part, value in crossing.key.items() if part != summary.entity or value in (None, "-", "")}
    return f"{summary.name} {window}" + (f" {json.dumps(rest, ensure_ascii=False, default=str)}" if rest else "")


def _scope(summary: Summary, crossing: Crossing) -> dict[str, Any]:
    """Return the key as column -> value, as far as its parts are the same plain columns in every input."""
    scope = {}
    for part, value in crossing.key.items():
        columns = {each.key.get(part, "").strip() for each in summary.inputs}
        column = columns.pop()
        if not columns and value is not None and _COLUMN.fullmatch(column):
            scope[column.strip('"')] = value
    return scope


def _severity(summary: Summary, level: int) -> Severity:
    """Return a level's severity: its own, or a lower level's when that is graver."""
    ranks = [SEVERITIES.index(each) for each in summary.severities[: level + 1]]
    return SEVERITIES[max(ranks)]


def _score(summary: Summary, crossing: Crossing, cutoffs: Sequence[float]) -> float:
    """Return the least score of the severity; of several levels of one severity each stands higher than the last."""
    edges = (0.0, *cutoffs, 100.0)
    level = summary.levels.index(crossing.levels[-1]) if crossing.levels and summary.levels else 0
    severity = _severity(summary, level)
    least = edges[SEVERITIES.index(severity)]
    most = next((edge for edge in edges if edge > least), least)
    alike = [at for at in range(len(summary.levels) or 1) if _severity(summary, at) == severity]
    return least + (most - least) * alike.index(level) / len(alike)


def _named(summary: Summary) -> list[str]:
    """Return the reducers that the condition names, in its order; the first reducer when it names none."""
    reducers = [reducer.name for reducer in summary.reducers]
    sql = _TEXT.sub("", summary.condition.sql) if summary.condition else ""
    found = [name for name in dict.fromkeys(re.findall(r"\w+", sql)) if name in reducers]
    return found or reducers[:1]


def _raw(crossing: Crossing, named: list[str]) -> float:
    value = crossing.values.get(named[0]) if named else None
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return float(crossing.records)


def _reasons(summary: Summary, crossing: Crossing, named: list[str]) -> list[Reason]:
    reasons = [
        Reason(name, _seen(summary, crossing, name), _expected(summary, crossing, name), 1 / len(named))
        for name in named
    ]
    if summary.new_for_us:
        seen = ", ".join(f"{part} {plain(value)}" for part, value in crossing.key.items()) or summary.name
        reasons.append(Reason("key", seen, f"seen in the last {_span(summary.new_for_us)}", 0.0))
    others = [reducer.name for reducer in summary.reducers if reducer.name not in named]
    return reasons + [Reason(name, plain(crossing.values.get(name)), "-", 0.0) for name in others]


def _seen(summary: Summary, crossing: Crossing, name: str) -> str:
    seen = f"{plain(crossing.values.get(name))} seen"
    return f"{seen}, past {plain(crossing.passed)}" if len(summary.levels) > 1 else seen


def _expected(summary: Summary, crossing: Crossing, name: str) -> str:
    within = f"in {_span(summary.window_us)}" if summary.window_us else "in the epoch"
    condition = summary.condition
    if condition is None:
        return "-"
    if crossing.levels and summary.levels:
        measured = "" if condition.sql.strip() == name else f"{condition.sql.strip()} "
        strict = any(guard.strict for guard in condition.growing.guards()) if condition.growing else False
        return f"{measured}{_bound(Guard(name, crossing.levels[-1], strict))} {within}"
    guards = [guard for guard in condition.growing.guards() if guard.name == name] if condition.growing else []
    if not guards:
        return f"not ({condition.sql.strip()}) {within}"
    return f"{_bound(max(guards, key=lambda guard: _passed(guard, crossing)))} {within}"


def _passed(guard: Guard, crossing: Crossing) -> tuple[bool, float]:
    value = crossing.values.get(guard.name)
    return isinstance(value, int | float) and guard.holds(value), guard.least


def _bound(guard: Guard) -> str:
    return f"{'at most' if guard.strict else 'under'} {plain(guard.least)}"


def _span(span_us: int) -> str:
    return words(span_us / SECOND_US, "min")
