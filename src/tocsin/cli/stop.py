"""Signals: the first asks for a clean stop, the second stops at once."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import rich_click as click

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `stop` while the block runs; a second one ends the process with 128 + its number.

    That loses nothing: jobs publish last. A thread of its own hears the signals, so that they count at once even while
    a long query or kernel keeps the main thread, in which Python would run a handler.
    """
    hears, tells = socket.socketpair()
    tells.settimeout(0)  # what a signal handler writes to must not block
    with hears, tells:
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, _heard_by_the_thread) for number in SIGNALS}
        listener = threading.Thread(target=_listen, args=(hears, stop), name="signals", daemon=True)
        listener.start()
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            tells.shutdown(socket.SHUT_WR)
            listener.join()


def _heard_by_the_thread(number: int, frame: object) -> None:
    """Do nothing: with a handler in place Python writes the signal's number to the wake-up socket."""


def _listen(hears: socket.socket, stop: threading.Event) -> None:
    asked = False
    while numbers := hears.recv(1):
        if numbers[0] not in SIGNALS:
            continue
        if asked:
            os._exit(128 + numbers[0])
        asked = True
        stop.set()
        click.echo("tocsin: finishing what was begun; once more stops at once", err=True)
