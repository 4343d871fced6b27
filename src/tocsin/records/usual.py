"""Columns that records of a kind usually have, so that one that is merely absent is told from a slip of the pen."""

import difflib

from tocsin.records.flow import FLOW
from tocsin.records.zeek_types import TYPES, field_type


def is_usual(kind: str, name: str) -> bool:
    """Tell whether records of a kind may have a column of this name, though a batch of them has not.

    A flow of Zeek keeps its own fields beside the canonical ones. Of EVE and other events nothing is known.
    """
    if kind == "flow":
        return name in FLOW or field_type("conn", name) is not None
    return kind.startswith("zeek.") and field_type(kind.removeprefix("zeek."), name) is not None


def nearest_usual(kind: str, name: str) -> str | None:
    """Return the usual column of a kind that is most like a name, None when none is like it."""
    known = FLOW if kind == "flow" else TYPES if kind.startswith("zeek.") else ()
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.75)), None)
