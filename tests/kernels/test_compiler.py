"""A first run says what it compiles: each kernel that is called, not those that it calls."""

import logging

import numba
import numpy as np
import pytest

from tocsin.kernels.compiler import COMPILED


@numba.njit
def inner(x):
    return x + 1


@numba.njit
def outer(values):
    total = 0.0
    for value in values:
        total += inner(value)
    return total


@numba.njit
def broken(values):
    return inner(values) + "text"


@pytest.mark.skipif(not COMPILED, reason="the compiler is off")
def test_only_what_was_called_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tocsin.kernels")
    with pytest.raises(numba.TypingError):
        broken(np.ones(3))
    assert outer(np.ones(3)) == 6
    outer(np.ones(4))
    said = [f"compiling {name} (first run only, kept for the next)" for name in ("broken", "outer")]
    assert caplog.messages == said
