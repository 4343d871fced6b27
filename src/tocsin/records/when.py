"""Times as people write them, on the command line and in a request: RFC 3339, a date, or so long ago."""

import re
from datetime import UTC, datetime, timedelta

from tocsin.errors import SettingsError

_SPAN = re.compile(r"^(\d+)([smhdw])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_when(text: str | None, now: datetime, option: str) -> datetime | None:
    """Read a time: 2025-01-08T10:00:00Z, 2025-01-08 (its midnight in UTC), or 24h, 7d (so long before now).

    A time without a zone is UTC. Raises SettingsError naming the option.
    """
    if text is None:
        return None
    if _SPAN.match(text.strip()):
        return _shift(now, -parse_span(text, option), text, option)
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"{option}: {text!r} is no time; give 2025-01-08, 2025-01-08T10:00:00Z, or so long ago, as in 24h or 7d"
        ) from error
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise SettingsError(f"{option}: {text} is beyond the calendar") from error


def parse_until(text: str | None, now: datetime, option: str) -> datetime | None:
    """Read when something ends: a time as in parse_when, or 24h, 30d (so long after now). Raises SettingsError."""
    if text is None or not _SPAN.match(text.strip()):
        return parse_when(text, now, option)
    return _shift(now, parse_span(text, option), text, option)


def parse_span(text: str, option: str) -> timedelta:
    """Read a length of time: 90s, 15m, 24h, 7d, 2w. Raises SettingsError naming the option."""
    found = _SPAN.match(text.strip())
    if found is None:
        raise SettingsError(f"{option}: {text!r} is no length of time such as 15m, 24h, 7d or 2w")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise SettingsError(f"{option}: {text} is too long") from error


def _shift(now: datetime, span: timedelta, text: str, option: str) -> datetime:
    try:
        return now + span
    except OverflowError as error:
        raise SettingsError(f"{option}: {text} is beyond the calendar") from error
