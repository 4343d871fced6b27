"""Suppression: which rule, if any, hides a finding."""

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from tocsin.errors import SettingsError
from tocsin.records.finding import Candidate, Finding
from tocsin.records.suppression import Suppression

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_HOURS = re.compile(r"^(\d{1,2})(?::([0-5]\d))?-(\d{1,2})(?::([0-5]\d))?$")


def matches(rule: Suppression, domain: str, subject: Candidate | Finding) -> bool:
    """Tell whether a rule hides a finding: every condition that is set holds, and at least one is set.

    The records' whole time range must lie within the rule's times, so that a maintenance window never hides a
    finding that began before it. Whether the rule has expired is for the caller to ask (`active_at`).
    """
    return (
        is_conditional(rule)
        and rule.domain in ("", domain)
        and rule.entity in ("", subject.entity)
        and rule.detector in ("", subject.detector)
        and rule.kind in ("", subject.kind)
        and (not rule.network or _inside(subject.entity, rule.network))
        and (not rule.field or _shows(subject, rule.field, rule.value))
        and _in_time(rule, subject.start, subject.end)
    )


def first_match(rules: Iterable[Suppression], domain: str, subject: Candidate | Finding) -> Suppression | None:
    """Return the first rule that hides a finding, or None."""
    return next((rule for rule in rules if matches(rule, domain, subject)), None)


def is_conditional(rule: Suppression) -> bool:
    """Tell whether a rule says what it hides; one that does not hides nothing."""
    named = (rule.entity, rule.network, rule.field, rule.detector, rule.kind, rule.weekdays, rule.hours)
    return any(named) or rule.valid_from is not None or rule.valid_until is not None


def check_rule(rule: Suppression) -> None:
    """Refuse a rule that cannot hold. Raises SettingsError saying which part, and what is allowed."""
    if not is_conditional(rule):
        raise SettingsError("a suppression needs a condition: entity, network, field, detector, kind or a time")
    if not rule.owner.strip() or not rule.reason.strip():
        raise SettingsError("a suppression needs an owner and a reason")
    if rule.value and not rule.field:
        raise SettingsError("a suppression's value needs a field: --field FIELD=VALUE")
    if rule.network:
        parse_network(rule.network)
    parse_weekdays(rule.weekdays)
    parse_hours(rule.hours)
    if rule.valid_from and rule.valid_until and rule.valid_from >= rule.valid_until:
        raise SettingsError(f"a suppression from {rule.valid_from} until {rule.valid_until} covers no time")


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read a CIDR block. Raises SettingsError."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise SettingsError(f"network {text!r} is no CIDR block such as 10.1.0.0/16") from error


def parse_weekdays(text: str) -> frozenset[int]:
    """Read 'mon-fri' or 'sat,sun' as numbers from Monday 0; '' is every day. Raises SettingsError."""
    days: set[int] = set()
    for part in filter(None, text.lower().replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
            raise SettingsError(
                f"weekdays {text!r}: {part!r} is none of {', '.join(WEEKDAYS)} or a range such as mon-fri"
            )
        begin, length = WEEKDAYS.index(first), (WEEKDAYS.index(last or first) - WEEKDAYS.index(first)) % 7
        days.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(days or range(7))


def parse_hours(text: str) -> tuple[int, int] | None:
    """Read '22-06' or '08:30-17:00' as minutes of the day in UTC; None for ''. Raises SettingsError."""
    if not text:
        return None
    found = _HOURS.match(text.replace(" ", ""))
    if found is not None:
        begin, until = (int(found[at]) * 60 + int(found[at + 1] or 0) for at in (1, 3))
        if begin < 1440 and until <= 1440 and begin != until % 1440:
            return begin, until % 1440
    raise SettingsError(f"hours {text!r} are no window such as 22-06 or 08:30-17:00 (UTC, until is exclusive)")


def _inside(entity: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(entity) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _shows(subject: Candidate | Finding, field: str, value: str) -> bool:
    """Tell whether a finding is about a field, and its value: by its scope, else all its records, else a reason."""
    if field in subject.scope:
        return not value or _text(subject.scope[field]) == value
    reasons = [reason.seen for reason in subject.reasons if reason.field == field]
    if not value:
        return bool(reasons)
    records = [_text(record[field]) for record in subject.records if field in record]
    return set(records) == {value} if records else value in reasons


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _in_time(rule: Suppression, start: datetime, end: datetime) -> bool:
    if rule.valid_from is not None and start < rule.valid_from:
        return False
    if rule.valid_until is not None and end >= rule.valid_until:
        return False
    if rule.weekdays and not _weekdays_between(start, end) <= parse_weekdays(rule.weekdays):
        return False
    window = parse_hours(rule.hours)
    return window is None or _within_window(window, start, end)


def _weekdays_between(start: datetime, end: datetime) -> frozenset[int]:
    days = (end.date() - start.date()).days
    return frozenset((start.weekday() + step) % 7 for step in range(min(days, 6) + 1))


def _within_window(window: tuple[int, int], start: datetime, end: datetime) -> bool:
    """Tell whether one opening of a daily window, in minutes of the day, holds the whole range."""
    begin, until = window
    midnight = datetime.combine(start.date(), time(), UTC)
    for day in (midnight - timedelta(days=1), midnight):
        opens = day + timedelta(minutes=begin)
        closes = day + timedelta(minutes=until if until > begin else until + 1440)
        if opens <= start and end < closes:
            return True
    return False
