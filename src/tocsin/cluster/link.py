"""One end of a socket that never blocks: frames wait to be written, frames come in."""

import socket
from collections import deque

from tocsin.cluster.wire import Frame, Reader, buffers

BUFFERS = 64
"""Most buffers of one system call."""


class Link:
    """Frames over a stream socket. What the other end does not take yet waits here."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self.socket = end
        self._waiting: deque[memoryview] = deque()
        self._reader = Reader()

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._waiting)

    def put(self, frame: Frame) -> None:
        """Queue a frame."""
        self._waiting += buffers(frame)

    def write(self) -> None:
        """Write as much as the other end takes. Raises OSError when it is gone."""
        while self._waiting:
            chosen = [self._waiting[at] for at in range(min(BUFFERS, len(self._waiting)))]
            try:
                self._drop(self.socket.sendmsg(chosen))
            except BlockingIOError:
                return

    def read(self) -> list[Frame]:
        """Return the frames that are there. Raises EOFError, OSError or FrameError when no more can come."""
        try:
            return self._reader.receive(self.socket)
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Close this end; what waits is not written."""
        self._waiting.clear()
        self.socket.close()

    def _drop(self, count: int) -> None:
        while count:
            first = self._waiting.popleft()
            if len(first) > count:
                self._waiting.appendleft(first[count:])
                return
            count -= len(first)
