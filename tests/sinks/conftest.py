from datetime import UTC, datetime, timedelta

import pytest

from tocsin.records.finding import Finding, Reason

NOW = datetime(2025, 1, 8, 10, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def finding():
    return Finding(
        id="a1b2",
        domain="campus",
        detector="outlier",
        kind="port-scan",
        entity="10.0.0.7",
        start=NOW,
        end=NOW + timedelta(minutes=5),
        raw=12.5,
        score=99.95,
        severity="high",
        title="10.0.0.7 touched “everything”",
        reasons=[Reason("dport", "1, 2 and 40 more", "443, 53", 0.8)],
        records=[
            {
                "flowid": "C1",
                "saddr": "10.0.0.7",
                "sport": 5000,
                "daddr": "9.9.9.9",
                "dport": 22,
                "proto": "tcp",
                "stime": NOW,
            }
        ],
        record_count=42,
        scope={"saddr": "10.0.0.7"},
        about="",
        model="tcp-1",
        state="new",
        count=1,
        suppressed_by="",
        created=NOW,
        updated=NOW,
    )
