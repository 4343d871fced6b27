"""Signals: the first asks for a clean stop, the second stops at once."""

import os
import signal
import threading
from types import FrameType

import rich_click as click


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`; a second one ends the process at once, which loses nothing: jobs publish last."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        click.echo("tocsin: finishing what was begun; once more stops at once", err=True)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
