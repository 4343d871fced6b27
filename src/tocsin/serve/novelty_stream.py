"""JSON lines streamed both ways: results go out while observations still come in, a line for a line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tocsin.errors import TocsinError
from tocsin.serve.incoming import NDJSON, Receive, gone
from tocsin.serve.problems import Problem, problem_of

BLOCK_LINES = 1000
BLOCK_BYTES = 1 << 20
"""Lines and bytes that are learned at once; where blocks end depends on the lines alone, not on how they arrive."""

LINE_BYTES = 8 << 20
AHEAD_BLOCKS = 64
"""Blocks of results that may wait for a sender that does not read yet; the lines behind them wait then."""

Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Lines:
    """Some whole lines, none blank: how many came before, how many they are, and they themselves."""

    first: int
    count: int
    whole: bytes


async def blocks_of(receive: Receive) -> AsyncIterator[Lines]:
    """Yield the lines of a body in blocks, as they come. Raises Problem for an endless line or half a body."""
    rest = b""
    lines: list[bytes] = []
    size = done = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise gone()
        more = message.get("more_body", False)
        *whole, rest = (rest + message.get("body", b"")).split(b"\n")
        if not more:
            whole.append(rest)
        elif len(rest) > LINE_BYTES:
            remedy = "end each observation with a line feed"
            raise Problem(413, detail=f"line {done + len(lines) + 1} has more than {LINE_BYTES:,} bytes", remedy=remedy)
        for line in whole:
            if not line or line.isspace():
                continue
            lines.append(line)
            size += len(line)
            if len(lines) == BLOCK_LINES or size >= BLOCK_BYTES:
                yield Lines(done, len(lines), b"\n".join(lines))
                done += len(lines)
                lines, size = [], 0
    if lines:
        yield Lines(done, len(lines), b"\n".join(lines))


async def stream_lines(receive: Receive, send: Send, results: Callable[[Lines], Awaitable[bytes]]) -> None:
    """Answer a body of lines with what `results` makes of each block, while the body still comes.

    What goes wrong before the first result is raised; after it, it is the last line, as {"error": …}.
    """
    parts = _parts(receive, results)
    first = await anext(parts, b"")
    outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD_BLOCKS)
    async with asyncio.TaskGroup() as tasks:
        # A task of its own sends, so that a sender that reads its answers late can go on sending meanwhile.
        tasks.create_task(_send_all(send, outgoing))
        await outgoing.put(first)
        async for part in parts:
            await outgoing.put(part)
        await outgoing.put(None)


async def _parts(receive: Receive, results: Callable[[Lines], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    begun = False
    try:
        async for lines in blocks_of(receive):
            yield await results(lines)
            begun = True
    except (Problem, TocsinError) as error:
        if not begun:
            raise
        yield orjson.dumps({"error": problem_of(error).to_dict()}, option=orjson.OPT_APPEND_NEWLINE)


async def _send_all(send: Send, outgoing: "asyncio.Queue[bytes | None]") -> None:
    headers = [(b"content-type", NDJSON.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while (part := await outgoing.get()) is not None:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
