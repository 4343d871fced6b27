from datetime import UTC, datetime, timedelta

import pytest

from tocsin.errors import SettingsError
from tocsin.records.when import parse_span, parse_until, parse_when

NOW = datetime(2025, 1, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-01-07", datetime(2025, 1, 7, tzinfo=UTC)),
        ("2025-01-07T10:00:00Z", datetime(2025, 1, 7, 10, tzinfo=UTC)),
        ("2025-01-07T10:00:00+02:00", datetime(2025, 1, 7, 8, tzinfo=UTC)),
        ("2025-01-07 10:00", datetime(2025, 1, 7, 10, tzinfo=UTC)),
        ("24h", NOW - timedelta(days=1)),
        ("2w", NOW - timedelta(days=14)),
        (None, None),
    ],
)
def test_times(text, time):
    assert parse_when(text, NOW, "--since") == time


def test_ends_lie_ahead():
    assert parse_until("30d", NOW, "--expires") == NOW + timedelta(days=30)
    assert parse_until("2025-02-01", NOW, "--expires") == datetime(2025, 2, 1, tzinfo=UTC)
    assert parse_until(None, NOW, "--expires") is None


@pytest.mark.parametrize("text", ["", "soon", "7", "7y", "-7d", "2025-13-01", "9999999w", "0001-01-01T00:00+14:00"])
def test_no_time(text):
    with pytest.raises(SettingsError, match="--since"):
        parse_when(text, NOW, "--since")


def test_spans():
    assert parse_span("90s", "--x") == timedelta(seconds=90)
    with pytest.raises(SettingsError, match="--x: '1 day'"):
        parse_span("1 day", "--x")
