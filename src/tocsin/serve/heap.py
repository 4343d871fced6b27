"""Gives memory back to the system that the C library keeps for later.

glibc keeps what is freed, in an arena for every few threads. Under bodies and answers of all sizes from dozens of
threads holes come together there: after three minutes of load half of 255 MB were free and the resident memory grew
on, while what was in use stayed at 135 MB (bench/service_soak.py).
"""

import asyncio
import ctypes
from typing import Any

EVERY_S = 30.0
_M_ARENA_MAX = -8
"""Of malloc.h."""


def one_arena(library: Any = None) -> bool:
    """Let all threads that are still to come share one arena, whose holes are filled by any; tell whether they will.

    Where Python's own lock lets one thread allocate at a time, arenas of their own win nothing.
    """
    set_option = getattr(library or ctypes.CDLL(None), "mallopt", None)
    return bool(set_option(_M_ARENA_MAX, 1)) if set_option is not None else False


def trim(library: Any = None) -> bool:
    """Give back what is free; tell whether there was any. On systems without glibc nothing happens."""
    give_back = getattr(library or ctypes.CDLL(None), "malloc_trim", None)
    return bool(give_back(0)) if give_back is not None else False


async def keep_trim() -> None:
    """Give back what is free every so often, in a thread, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(trim)
