"""Lists of entries, one a slot, as Arrow arrays and back."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def lists_of(
    starts: np.ndarray, fields: dict[str, np.ndarray | pa.Array] | pa.Array, *, empty_is_null: bool = False
) -> pa.ListArray:
    """Return one list a row; row i is entries starts[i] to starts[i + 1], structs of the fields or plain values.

    starts: (m + 1,) int64 or int32. empty_is_null: a row without entries is null.
    """
    entries = (
        pa.StructArray.from_arrays([_array(field) for field in fields.values()], names=list(fields))
        if isinstance(fields, dict)
        else fields
    )
    empty = np.append(np.diff(starts) == 0, False) if empty_is_null else None
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32), mask=empty), entries)


def fields_of(lists: pa.ListArray) -> tuple[np.ndarray, dict[str, pa.Array]]:
    """Return starts, (m + 1,) int64, and the fields of lists of structs; the inverse of `lists_of`."""
    lengths = pc.list_value_length(lists).to_numpy()
    entries = lists.flatten()
    names = [field.name for field in entries.type]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return starts, dict(zip(names, entries.flatten(), strict=True))


def values_of(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths, (m,) int32, and the entries of lists of plain values; the inverse of `lists_of`."""
    return pc.list_value_length(lists).to_numpy(), lists.flatten().to_numpy()


def _array(values: np.ndarray | pa.Array) -> pa.Array:
    return pa.array(values) if isinstance(values, np.ndarray) else values
