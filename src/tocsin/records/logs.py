"""Records of other kinds than flows: columns under their own names, typed; bad rows are told by index and reason."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.convert import epoch_times, times, within_range
from tocsin.records.flow import TIMESTAMP
from tocsin.records.maps import plain
from tocsin.records.rows import Rows

EVENT_TIMES = ("ts", "time", "timestamp", "@timestamp", "eventTime")
"""Where an event's time is looked for, in this order."""

_NUMBER = r"^[0-9]+(\.[0-9]*)?([eE][+]?[0-9]{1,2})?$"
_SCALES = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""From what number on a time is in nanoseconds, microseconds, milliseconds: each would be beyond the year 5000."""


class LogRows(Rows):
    """The rows of one piece of a log that holds no flows."""

    def add(self, name: str, values: pa.Array, zeek_type: str) -> None:
        """Add a column of text, or of numbers as they were in JSON; a value that cannot be read rejects its row."""
        field = plain(name, zeek_type)
        if pa.types.is_string(values.type):
            self.read(name, values, field)
        elif (direct := _as_they_are(values, zeek_type)) is not None:
            self.columns[name] = direct
        else:
            self.read(name, pc.cast(values, pa.string()), field)

    def require_time(self, name: str, why: str = "") -> None:
        """Reject rows without a time, and see that there is such a column."""
        column = self.columns.setdefault(name, pa.nulls(self.count, TIMESTAMP))
        for index in np.flatnonzero(np.asarray(pc.is_null(column))).tolist():
            self.reject(index, why or f"no {name}")

    def table(self) -> pa.Table:
        """Return the rows that stand, their columns as they came."""
        self._drop_rejected()
        return pa.table(self.columns)


def _as_they_are(values: pa.Array, zeek_type: str) -> pa.Array | None:
    """Return numbers as what they are to be, where that needs no look at each; else None."""
    is_whole, is_real = pa.types.is_integer(values.type), pa.types.is_floating(values.type)
    if (is_whole and zeek_type == "int") or (pa.types.is_boolean(values.type) and zeek_type == "bool"):
        return values
    if (is_whole or is_real) and zeek_type in ("double", "interval"):
        return pc.cast(values, pa.float64(), safe=False)
    if (is_whole or is_real) and zeek_type == "time":
        found = epoch_times(pc.cast(values, pa.float64(), safe=False))
        return found if found.null_count == values.null_count else None
    if is_whole and zeek_type in ("count", "port"):
        try:
            return pc.cast(values, pa.uint16() if zeek_type == "port" else pa.uint64())
        except pa.ArrowInvalid:
            return None
    return None


def event_time(columns: dict[str, pa.Array], count: int) -> pa.Array:
    """Return each event's time from the first of EVENT_TIMES that can be read as one: (n,) timestamp, null: none.

    columns: their text. A number is seconds since 1970, or milli-, micro-, nanoseconds where it is too large for that.
    """
    found = pa.nulls(count, TIMESTAMP)
    for name in EVENT_TIMES:
        if name in columns and found.null_count:
            found = pc.coalesce(found, _any_time(columns[name]))
    return found


def _any_time(text: pa.Array) -> pa.Array:
    is_number = pc.fill_null(pc.match_substring_regex(text, _NUMBER), fill_value=False)
    number = pc.cast(pc.if_else(is_number, text, pa.scalar(None, pa.string())), pa.float64())
    for least, scale in _SCALES:
        number = pc.if_else(pc.greater(number, least), pc.divide(number, scale), number)
    others = pc.if_else(is_number, pa.scalar(None, pa.string()), text)
    return within_range(pc.coalesce(epoch_times(number), times(others)))
