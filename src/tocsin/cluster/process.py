"""What runs in a child process: one worker or merger, fed with frames through a socket until that is closed.

    python -m tocsin.cluster.process FD

The first frame says what it is. Every other one is answered: first by the messages that came of it, then by a frame
with `answer`, its number. Signals that ask for a stop are left to the parent, whose end is seen as the socket's.
"""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tocsin.cluster.plain import plain, revive
from tocsin.cluster.wire import (
    Frame,
    FrameError,
    Reader,
    buffers,
    frame,
    from_bytes,
    pack,
    pack_output,
    to_bytes,
    unpack,
)
from tocsin.detectors.summary.definition import Summary
from tocsin.detectors.summary.merger import Merger
from tocsin.detectors.summary.messages import Hint, Output, Partial, Progress
from tocsin.detectors.summary.worker import Worker
from tocsin.errors import TocsinError

log = logging.getLogger(__name__)

Answer = tuple[list[Frame], Frame]
"""Messages, and the answer itself."""


class WorkerProcess:
    """A worker behind frames."""

    def __init__(self, start: Frame) -> None:
        summaries, options = _told(start)
        self._worker = Worker(summaries, **options)

    def observe(self, given: Frame) -> Answer:
        """Count the records that it holds."""
        return _messages(self._worker.observe(given.head["kind"], given.part("records"), given.part("ordinals")))

    def advance(self, given: Frame) -> Answer:
        """Take in a watermark."""
        return _messages(self._worker.advance(given.head["watermark_us"]))

    def hint(self, given: Frame) -> Answer:
        """Take in a merger's hint."""
        return _messages(self._worker.hint(unpack(Hint, given)))

    def end_epoch(self, given: Frame) -> Answer:
        """End a manual epoch."""
        return _messages(self._worker.end_epoch(given.head["summary"]))

    def finish(self, given: Frame) -> Answer:
        """End every window."""
        return _messages(self._worker.finish())

    def value(self, given: Frame) -> Answer:
        """Answer with what is here of a key: a partial as a part for each window."""
        partials = self._worker.value(given.head["summary"], revive(Any, given.head["key"]))
        return [], frame({}, {str(number): to_bytes(pack(each)) for number, each in enumerate(partials)})

    def status(self, given: Frame) -> Answer:
        """Answer with counts."""
        return [], frame({"status": plain(self._worker.status())})

    def state(self, given: Frame) -> Answer:
        """Answer with a checkpoint."""
        return [], pack_state(self._worker.state())

    def restore(self, given: Frame) -> Answer:
        """Go on from a checkpoint."""
        self._worker.restore(unpack_state(given))
        return [], frame({})


class MergerProcess:
    """A merger behind frames. What time it is, it is told, so that the same frames give the same answers."""

    def __init__(self, start: Frame) -> None:
        summaries, options = _told(start)
        self._merger = Merger(summaries, **options)

    def partial(self, given: Frame) -> Answer:
        """Take in a partial."""
        return _output(self._merger.receive(unpack(Partial, given), given.head["now"]))

    def progress(self, given: Frame) -> Answer:
        """Take in how far a worker is."""
        return _output(self._merger.receive(unpack(Progress, given), given.head["now"]))

    def tick(self, given: Frame) -> Answer:
        """Take in what time it is."""
        return _output(self._merger.tick(given.head["now"]))

    def value(self, given: Frame) -> Answer:
        """Answer with what the workers' partials of a key come to."""
        partials = [unpack(Partial, from_bytes(given.part(name))) for name in given.parts]
        return [], frame({"value": plain(self._merger.value(partials))})

    def status(self, given: Frame) -> Answer:
        """Answer with what it holds."""
        return [], frame({"status": plain(self._merger.status())})

    def state(self, given: Frame) -> Answer:
        """Answer with a checkpoint."""
        return [], pack_state(self._merger.state())

    def restore(self, given: Frame) -> Answer:
        """Go on from a checkpoint."""
        self._merger.restore(unpack_state(given))
        return [], frame({})


MACHINES: dict[str, Callable[[Frame], Any]] = {"worker": WorkerProcess, "merger": MergerProcess}


def pack_state(state: dict[str, Any]) -> Frame:
    """Make a frame of a machine's state: arrays, tables and bytes are parts, the rest is plain."""
    parts = {name: value for name, value in state.items() if isinstance(value, np.ndarray | pa.Table | bytes)}
    return frame({"state": {name: value for name, value in state.items() if name not in parts}}, parts)


def unpack_state(given: Frame) -> dict[str, Any]:
    """Read what `pack_state` made; arrays are copies that may be written."""
    state = dict(given.head["state"])
    for name in given.parts:
        part = given.part(name)
        state[name] = part.copy() if isinstance(part, np.ndarray) else part
        if isinstance(part, pa.Buffer):
            state[name] = part.to_pybytes()
    return state


def serve(end: socket.socket) -> None:
    """Answer frames until the other end is closed."""
    reader = Reader()
    machine: Any = None
    while True:
        for given in reader.receive(end):
            if machine is None:
                machine = MACHINES[given.head["role"]](given)
                continue
            messages, answer = _do(machine, given)
            for message in messages:
                _send(end, message.with_head(n=given.head["n"]))
            _send(end, answer.with_head(answer=given.head["n"]))


def _do(machine: Any, given: Frame) -> Answer:
    try:
        answer: Answer = getattr(machine, given.head["do"])(given)
    except FrameError:
        raise
    except TocsinError as error:
        return [], frame({"error": [type(error).__name__, str(error)]})
    return answer


def _send(end: socket.socket, given: Frame) -> None:
    for each in buffers(given):
        end.sendall(each)


def _told(start: Frame) -> tuple[list[Summary], dict[str, Any]]:
    return [revive(Summary, each) for each in start.head["summaries"]], start.head["options"]


def _messages(messages: list[Any]) -> Answer:
    do = {Partial: "partial", Progress: "progress"}
    return [pack(each, do=do[type(each)], to=each.merger) for each in messages], frame({})


def _output(output: Output) -> Answer:
    return [], pack_output(output) if output.crossings or output.results or output.hints else frame({})


class _Forward(logging.Handler):
    """Sends what is logged to the parent, whose log it belongs to."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as a frame."""
        text = self.format(record)
        _send(self._end, frame({"log": [record.name, record.levelno, text]}))


def main() -> None:
    """Serve the socket whose file descriptor is the argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pa.set_cpu_count(1)
    with socket.socket(fileno=int(sys.argv[1])) as end:
        logging.basicConfig(handlers=[_Forward(end)], level=logging.INFO)
        try:
            serve(end)
        except (EOFError, ConnectionError):
            return
        except Exception:
            log.exception("an error of the program")
            sys.exit(1)


if __name__ == "__main__":
    main()
