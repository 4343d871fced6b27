"""Room for each slot's entries in flat arrays: blocks that double, so that few entries do not pay for many.

Entries of all slots lie in shared arrays, one an entry field. A slot has one block of them, of 2, 4, 8, … entries and
at last exactly `limit`. A block that a slot has outgrown goes to the next slot that needs one of its size.
"""

import numpy as np

from tocsin.kernels.compiler import kernel

SIZES = 32
"""How many sizes of blocks there can be; free: (SIZES + 1,) int64, the first free block of each, and the end of all."""

_FIRST = 2


@kernel
def size_of(number, limit):
    """Return how many entries a block of the size with this number has."""
    return min(np.int64(_FIRST) << number, np.int64(limit))


@kernel
def number_of(room, limit):
    """Return the number of the least size that has so much room."""
    number = 0
    while size_of(number, limit) < room:
        number += 1
    return number


@kernel
def take_block(number, limit, free, links):
    """Return where a block of this size begins, or -1 where the arrays are full: the caller makes them longer.

    links: int64, a field of the entries; in the first entry of a free block it says where the next free one begins.
    """
    block = free[number]
    if block >= 0:
        free[number] = links[block]
        return block
    end = free[SIZES]
    size = size_of(number, limit)
    if end + size > links.size:
        return np.int64(-1)
    free[SIZES] = end + size
    return end


@kernel
def leave_block(block, room, limit, free, links):
    """Give a block back; its entries have been copied."""
    if room > 0:
        number = number_of(room, limit)
        links[block] = free[number]
        free[number] = block
