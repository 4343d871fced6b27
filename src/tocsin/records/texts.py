"""A column of any type as text."""

import pyarrow as pa
import pyarrow.compute as pc


def as_text(values: pa.Array) -> pa.Array:
    """Return values as text; times as RFC 3339."""
    if pa.types.is_string(values.type):
        return values
    if pa.types.is_dictionary(values.type):
        return as_text(values.dictionary_decode())
    if pa.types.is_timestamp(values.type):
        return pc.strftime(pc.cast(values, pa.timestamp("us", "UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    try:
        return pc.cast(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
