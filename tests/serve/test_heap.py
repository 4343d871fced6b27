"""Memory that is free goes back to the system."""

import asyncio
import types

import pytest

from tocsin.serve import heap


def test_it_is_given_back_where_that_can_be():
    kept = [bytes(1000) for _ in range(100_000)]
    del kept
    heap.trim()
    assert heap.trim(types.SimpleNamespace(malloc_trim=lambda spare: 1)) is True
    assert heap.trim(types.SimpleNamespace()) is False


def test_threads_share_an_arena_where_that_can_be():
    asked = []
    assert heap.one_arena(types.SimpleNamespace(mallopt=lambda *option: asked.append(option) or 1)) is True
    assert asked == [(-8, 1)]
    assert heap.one_arena(types.SimpleNamespace()) is False


def test_every_so_often(monkeypatch):
    trimmed = []
    monkeypatch.setattr(heap, "EVERY_S", 0.01)
    monkeypatch.setattr(heap, "trim", lambda: trimmed.append(1))

    async def a_while():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heap.keep_trim(), 0.5)

    asyncio.run(a_while())
    assert len(trimmed) >= 2
