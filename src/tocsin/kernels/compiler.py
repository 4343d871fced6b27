"""The one decorator that compiles a kernel; it holds all compiler flags.

Kernels are cached on disk. The first run of a version compiles; `tocsin.kernels` says so in the log.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

log = logging.getLogger("tocsin.kernels")

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") != "1"
"""False where the environment turns the compiler off: everything still works, slowly."""


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a function when it is first called: cached, without the interpreter lock, IEEE arithmetic."""
    if function is None:
        return lambda inner: kernel(inner, parallel=parallel)
    return numba.njit(cache=True, nogil=True, parallel=parallel, error_model="numpy")(function)


class _Announcer(event.Listener):
    """Says which kernel is compiled; of the kernels that it calls, compiled on the way, it says nothing."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def on_start(self, event: event.Event) -> None:
        depth = getattr(self._thread, "depth", 0)
        self._thread.depth = depth + 1
        name = getattr(getattr(event.data.get("dispatcher"), "py_func", None), "__name__", "a kernel")
        if depth == 0:
            log.info("compiling %s (first run only, kept for the next)", name)

    def on_end(self, event: event.Event) -> None:
        self._thread.depth -= 1


event.register("numba:compile", _Announcer())
