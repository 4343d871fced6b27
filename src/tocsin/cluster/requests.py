"""Checks of what is asked of an engine."""

from collections.abc import Mapping
from typing import Any

from tocsin.detectors.summary.definition import Summary
from tocsin.errors import SettingsError


def check_known(summaries: Mapping[str, Summary], name: str) -> Summary:
    """Return the summary of this name. Raises SettingsError when there is none."""
    if name not in summaries:
        raise SettingsError(f"summary {name!r}: there is none of this name (there: {', '.join(summaries) or 'none'})")
    return summaries[name]


def check_manual(summaries: Mapping[str, Summary], name: str) -> None:
    """Raise SettingsError unless the epochs of this summary end when they are told."""
    if check_known(summaries, name).window_us:
        raise SettingsError(f"summary {name!r}: its epochs end by time; only those with `epoch: manual` can be ended")


def check_key(summaries: Mapping[str, Summary], name: str, key: Mapping[str, Any]) -> None:
    """Raise SettingsError unless a key has exactly the parts of the summary's keys."""
    parts = check_known(summaries, name).key_parts
    if set(parts) != set(key):
        wanted = ", ".join(f"{part}=…" for part in parts) or "nothing (it has one global key)"
        raise SettingsError(f"summary {name!r}: a key is given as {wanted}, not {', '.join(key) or 'nothing'}")
