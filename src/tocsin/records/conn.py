"""Flows under the names of Zeek's conn.log, for whom knows these better."""

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.maps import DURATION, ZEEK_CONN

_ZEEK: dict[str, str] = {}
for _theirs, _field in ZEEK_CONN.items():
    _ZEEK.setdefault(_field.name, _theirs)
_OURS = ("etime", "dur")
"""What the duration is made of."""
_APART = "zeek_"


def as_zeek_conn(flows: pa.Table) -> pa.Table:
    """Return flows with Zeek's column names: `stime` as `ts`, `saddr` as `id.orig_h`, `sbytes` as `orig_ip_bytes`.

    `duration` is in seconds, from the last packet's time where that is known, else from `dur`. A column that was kept
    apart because its name is one of ours (`zeek_version`) has its own name again; other columns keep theirs.
    """
    columns = {name: flows.column(name) for name in flows.column_names}
    duration = _duration(columns)
    renamed = {_zeek_name(name): column for name, column in columns.items() if name not in _OURS}
    return pa.table(renamed if duration is None else {**renamed, "duration": duration})


def _zeek_name(name: str) -> str:
    return _ZEEK.get(name) or name.removeprefix(_APART)


def _duration(columns: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray | None:
    """Return durations in seconds, float64."""
    if DURATION in columns:
        return columns[DURATION]
    if "etime" in columns and "stime" in columns:
        span = pc.subtract(pc.cast(columns["etime"], pa.int64()), pc.cast(columns["stime"], pa.int64()))
        return pc.divide(pc.cast(span, pa.float64()), 1e6)
    if "dur" in columns:
        return pc.divide(pc.cast(columns["dur"], pa.float64()), 1e3)
    return None
