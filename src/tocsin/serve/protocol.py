"""HTTP/1.1 as uvicorn speaks it, with what it leaves open: how large a head may be, how long it may take, and how long
an answer waits for who does not take it.

Without that, who sends a header that never ends fills the memory, and who sends one byte now and then keeps a
connection, both before any route, limit or log has seen a request; and who never reads keeps the answer in memory.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tocsin.serve.problems import Problem

MOST_HEAD_BYTES = 65_536
HEAD_S = 15.0
"""Time for a request's line and headers, from their first byte on, or from the connection on where it is the first."""
STALL_S = 30.0
"""Who takes nothing of an answer for so long is hung up on, with what is left of it."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _is_in_head = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _left_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._end_head()
        self._end_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Much of an answer has not been taken yet: see whether it will be."""
        super().pause_writing()
        self._end_stall()
        self._left_bytes = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALL_S, self._look)

    def resume_writing(self) -> None:
        """It was."""
        self._end_stall()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what came; nearly always that is a whole head, which costs nothing here."""
        super().data_received(data)
        if self._is_in_head:
            self._go_on_waiting(len(data))

    def on_message_begin(self) -> None:
        """A head has begun."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._end_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request with a problem document, and hang up."""
        self._end_head()
        remedy = f"send HTTP/1.1, with a path and headers of less than {MOST_HEAD_BYTES // 1024} KiB"
        answer = Problem(400, detail="this is no HTTP request", remedy=remedy).response()
        headers = [*answer.raw_headers, (b"connection", b"close")]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _go_on_waiting(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The head is too large.")
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._hang_up)

    def _end_head(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _look(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= self._left_bytes:
            self.transport.abort()  # closing would wait for what is left to be taken
            return
        self._left_bytes = left
        self._stalled = self.loop.call_later(STALL_S, self._look)

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
