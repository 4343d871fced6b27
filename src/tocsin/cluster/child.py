"""A process with a worker or a merger in it, seen from its parent: fed, watched, and started again when it dies.

A worker or merger is a state machine: what it answers follows from what it was given, in order. So its parent numbers
every frame, keeps those that its last checkpoint does not cover, and gives them again to a new process. The answers
to what was answered before are the same, and are dropped.
"""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tocsin.cluster.link import Link
from tocsin.cluster.wire import Frame, FrameError

log = logging.getLogger(__name__)

RESTARTS = 3
"""How often in a row, without an answer to anything new, a process is started again."""

EXTENSIONS = 10
"""How often in a row the patience with a silent process that is computing begins anew."""

FRAME_BYTES = 512
"""What a kept frame weighs besides its body."""


class Child:
    """One process at a time, which is given frames and answers each of them, in order.

    start: the frame that tells it what it is. patience_s: how long it may owe an answer without a word, unless it is
    computing. kept_bytes: how much is kept for a restart before the process is asked for a checkpoint.
    """

    def __init__(
        self, name: str, number: int, start: Frame, *, patience_s: float, kept_bytes: int, now: Callable[[], float]
    ) -> None:
        self.name, self.number = name, number
        self.is_lost = False
        self.in_flight = 0
        """Bytes it was given and has not answered."""
        self.answered = 0
        self._start, self._patience_s, self._kept_limit, self._now = start, patience_s, kept_bytes, now
        self._posted = 0
        self._kept: dict[int, Frame] = {}
        self._kept_bytes = 0
        self._checkpoint: Frame | None = None
        self._checkpoint_asked = 0
        self._failures = 0
        self._begin()

    def __repr__(self) -> str:
        return f"{self.name} {self.number}"

    @property
    def owes(self) -> bool:
        """Whether it has not answered everything."""
        return self.answered < self._posted and not self.is_lost

    @property
    def is_due_for_checkpoint(self) -> bool:
        """Whether more is kept for it than its last checkpoint weighs, and no new one is on its way."""
        limit = max(self._kept_limit, self._checkpoint.nbytes if self._checkpoint else 0)
        return self._kept_bytes > limit and self._checkpoint_asked <= self.answered

    def post(self, frame: Frame) -> int:
        """Give it a frame and return the frame's number, by which the answer is known; 0 when it is lost."""
        if self.is_lost:
            return 0
        if not self.owes:
            self.heard()
        self._posted += 1
        frame = frame.with_head(n=self._posted)
        if frame.head["do"] == "state":
            self._checkpoint_asked = self._posted
        self._kept[self._posted] = frame
        self._kept_bytes += _weight(frame)
        self.in_flight += _weight(frame)
        self.link.put(frame)
        return self._posted

    def read(self) -> list[Frame]:
        """Return what is new of what it has sent: messages, and answers (with `answer` in the head)."""
        fresh = []
        for frame in self.link.read():
            self.heard()
            if "log" in frame.head:
                fresh.append(frame)
                continue
            if "answer" in frame.head:
                self._recalled = frame.head["answer"]
                self._failures = 0 if self._recalled == self._posted else self._failures
            if frame.head.get("answer", frame.head.get("n", 0)) > self.answered:
                fresh.append(frame)
                if "answer" in frame.head:
                    self._take_answer(frame)
        return fresh

    def heard(self) -> None:
        """Note that it has nothing to be reproached with, as of now."""
        self._heard_s, self._extensions = self._now(), 0
        self._seen_cpu_s: float | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether it owes an answer, has been silent for too long and does not even compute."""
        silent_s = self._now() - self._heard_s
        if self._recalled >= self._posted or silent_s < self._patience_s / 2:
            return False
        cpu_s = _cpu_s(self.process.pid)
        if self._seen_cpu_s is None:
            self._seen_cpu_s = cpu_s
        if silent_s < self._patience_s:
            return False
        if cpu_s > self._seen_cpu_s and self._extensions < EXTENSIONS:
            self._heard_s, self._seen_cpu_s = self._now(), cpu_s
            self._extensions += 1
            return False
        return True

    @property
    def story(self) -> list[Frame]:
        """What makes a new process what this one is: its last checkpoint, and every frame since."""
        first = (
            [self._checkpoint.with_head(do="restore", n=self._checkpoint.head["answer"])] if self._checkpoint else []
        )
        return first + list(self._kept.values())

    def restart(self, why: str) -> None:
        """End the process and start another, which goes on where it was; after too many failures it is lost."""
        self.end()
        self._failures += 1
        if self._failures > RESTARTS:
            log.error("%s is given up after %s restarts: %s", self, RESTARTS, why)
            self.is_lost = True
            self.in_flight = 0
            return
        log.warning("%s is started again: %s", self, why)
        self._begin()
        for frame in self.story:
            self.link.put(frame)

    def end(self) -> None:
        """End the process at once: it holds nothing that must be put away."""
        self.link.close()
        self.process.kill()
        self.process.wait()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "tocsin.cluster.process", str(theirs.fileno())]
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self.link = Link(ours)
        self.link.put(self._start)
        self._recalled = 0
        self.heard()

    def _take_answer(self, frame: Frame) -> None:
        self.answered = number = frame.head["answer"]
        self.in_flight -= _weight(self._kept[number])
        self._failures = 0
        if "state" in frame.head:
            self._checkpoint = frame
            for covered in [each for each in self._kept if each <= number]:
                self._kept_bytes -= _weight(self._kept.pop(covered))


def why_gone(error: Exception, child: Child) -> str:
    """Say in words why nothing more comes from a process."""
    if isinstance(error, FrameError):
        return str(error)
    status = child.process.poll()
    return "it has ended" if status is None else f"it has ended with status {status}"


def _weight(frame: Frame) -> int:
    return frame.nbytes + FRAME_BYTES


def _cpu_s(pid: int) -> float:
    """Return the processor time a process has used; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
