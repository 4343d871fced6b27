"""What a detector would propose, for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.records.finding import Candidate, Reason

DAY = datetime(2025, 1, 8, 10, tzinfo=UTC)


def a_candidate(entity: str, score: float, **changes: Any) -> Candidate:
    """Return a candidate about an entity, with the records behind it."""
    values: dict[str, Any] = {
        "detector": "outlier",
        "kind": "unusual-flows",
        "entity": entity,
        "start": DAY,
        "end": DAY + timedelta(hours=1),
        "raw": score / 10,
        "score": score,
        "title": f"{entity} stands out",
        "reasons": [Reason("dport", "4444", "443, 53", 0.75), Reason("sbytes", "9000", "below 100", 0.25)],
        "records": [{"saddr": entity, "daddr": "9.9.9.9", "dport": 4444, "sbytes": 9000, "stime": DAY}],
        "record_count": 7,
    }
    return Candidate(**(values | changes))
