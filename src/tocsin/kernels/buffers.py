"""Arrow's buffers as plain arrays, so that compiled loops read text where it lies."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

_WIDE = (pa.types.is_large_string, pa.types.is_large_binary)
_NARROW = (pa.types.is_string, pa.types.is_binary)


class TextBuffers(NamedTuple):
    """The parts of one Arrow text array, none of them copied.

    offsets: (n + 1,) int32 or int64; row i is `data[offsets[i]:offsets[i + 1]]`.
    data: uint8. valid: uint8, the validity bitmap, empty where no row is null. first: the bitmap's bit of row 0.
    """

    offsets: np.ndarray
    data: np.ndarray
    valid: np.ndarray
    first: int


def text_buffers(array: pa.Array) -> TextBuffers:
    """Return the buffers of a string or binary array, views honour its slice. Raises TypeError for other types."""
    if any(check(array.type) for check in _WIDE):
        offset_type: type = np.int64
    elif any(check(array.type) for check in _NARROW):
        offset_type = np.int32
    else:
        raise TypeError(f"text or binary expected, not {array.type}")
    validity, offsets, data = array.buffers()
    if len(array) == 0:
        return TextBuffers(frozen(np.zeros(1, offset_type)), _bytes(None), _bytes(None), 0)
    view: np.ndarray = np.frombuffer(offsets, offset_type)[array.offset : array.offset + len(array) + 1]
    return TextBuffers(frozen(view), _bytes(data), _bytes(validity if array.null_count else None), array.offset)


def plain_text(array: pa.Array) -> pa.Array:
    """Return view-typed text as string or binary; other arrays as they are."""
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(array.type):
        return array.cast(pa.large_binary())
    return array


def text_array(data: np.ndarray, offsets: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    """Return a string array over these arrays, not copied.

    data: uint8, UTF-8. offsets: (n + 1,) int32. valid: (n,) bool, None where no row is null.
    """
    bitmap = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)])


def _bytes(buffer: pa.Buffer | None) -> np.ndarray:
    return frozen(np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8))


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only view: of arguments that are read-only or not, kernels are compiled once for each mixture."""
    array = array.view()
    array.flags.writeable = False
    return array
