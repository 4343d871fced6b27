"""The suppression rule: what is known and need not ring, with who says so, why, and until when."""

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from tocsin.records.finding import rfc3339


@dataclass(frozen=True)
class Suppression:
    """A rule that hides findings. Every condition that is set must hold; a rule with none hides nothing.

    domain: where it holds; '' means every domain.
    entity: an entity, exactly. network: a CIDR block that holds the entity. At most one of the two.
    field, value: what the finding's scope, else all records kept with it, else a reason must show, compared as text.
    detector, kind: which findings, exactly.
    valid_from, valid_until: the time of the records it hides, from (inclusive) and until (exclusive); None is open.
    weekdays, hours: when a week it hides, in UTC: 'mon-fri' or 'sat,sun', and '22-06' (until exclusive); '' is always.
    owner, reason: who answers for it, and why.
    created: when it was made. expires: when it ends by itself; None means never.
    hits, last_hit: how many findings it has hidden so far, and when it last did.
    """

    id: str
    owner: str
    reason: str
    created: datetime
    domain: str = ""
    entity: str = ""
    network: str = ""
    field: str = ""
    value: str = ""
    detector: str = ""
    kind: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    weekdays: str = ""
    hours: str = ""
    expires: datetime | None = None
    hits: int = 0
    last_hit: datetime | None = None

    def active_at(self, time: datetime) -> bool:
        """Tell whether the rule has not yet expired."""
        return self.expires is None or time < self.expires

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, times as RFC 3339 text."""
        return {key: rfc3339(value) if isinstance(value, datetime) else value for key, value in asdict(self).items()}


def new_rule(rule: Suppression) -> Suppression:
    """Return a rule under the id that a new one has."""
    return replace(rule, id=suppression_id(rule.owner, rule.created, in_words(rule)))


def in_words(rule: Suppression) -> str:
    """Say in words what a rule hides."""
    parts = [
        f"{name} {getattr(rule, name)}" for name in ("entity", "network", "kind", "detector") if getattr(rule, name)
    ]
    if rule.field:
        parts.append(f"field {rule.field}{f'={rule.value}' if rule.value else ''}")
    parts += [f"{name} {getattr(rule, name)}" for name in ("weekdays", "hours") if getattr(rule, name)]
    if rule.valid_from:
        parts.append(f"from {rule.valid_from:%Y-%m-%d %H:%M:%S}")
    if rule.valid_until:
        parts.append(f"until {rule.valid_until:%Y-%m-%d %H:%M:%S}")
    return " and ".join(parts) or "nothing"


def suppression_id(owner: str, created: datetime, condition: str) -> str:
    """Return a short id for a new rule from who made it, when, and what it says."""
    return hashlib.blake2b("\x1f".join((owner, created.isoformat(), condition)).encode(), digest_size=5).hexdigest()
