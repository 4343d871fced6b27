"""Which process works, so that another can tell whether it still does."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process: its host, its number, when it started, and the kernel and namespace in which that number means it.

    started: clock ticks since boot, '' where the system does not say; tells a process from a later one of its number.
    where: the boot's id and the namespace of process numbers, '' where the system does not say. Two containers may
    share a host's name and yet not see each other's processes.
    """

    host: str
    pid: int
    started: str
    where: str

    @classmethod
    def here(cls) -> "Process":
        """Return this process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _started(pid), _where())

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}/{self.started}/{self.where}"

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Return the process that a text from `str` names, or None for any other text."""
        parts = text.rsplit("/", 3)
        if len(parts) != 4 or not parts[1].isdecimal():
            return None
        return cls(parts[0], int(parts[1]), parts[2], parts[3])

    def is_gone(self) -> bool:
        """Tell whether the process has certainly ended; False for one that cannot be seen from here."""
        if self.host != socket.gethostname() or self.where != _where():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # it runs, as another user
        return self.started != _started(self.pid)


def owner_is_gone(owner: str) -> bool:
    """Tell of a job's or claim's owner, as `str(Process.here())` wrote it, whether it has certainly ended."""
    process = Process.parse(owner)
    return process is not None and process.is_gone()


def _started(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # proc(5): the name, field 2, may hold spaces and parentheses; the start time is field 22.
    return status.rpartition(")")[2].split()[19]


def _where() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return ""
    return f"{boot[:8]}-{''.join(filter(str.isdecimal, namespace))}"
