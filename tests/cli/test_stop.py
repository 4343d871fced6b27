"""Signals: one asks for a clean stop; what was there before is there again afterwards."""

import os
import signal
import threading

import pytest

from tocsin.cli.stop import SIGNALS, stop_on_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_a_stop(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.wait(30)
    assert capsys.readouterr().err == "tocsin: finishing what was begun; once more stops at once\n"


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    threads = threading.active_count()
    with stop_on_signals(threading.Event()):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1


def test_other_signals_ask_for_nothing() -> None:
    stop = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with stop_on_signals(stop):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGUSR1, before)
