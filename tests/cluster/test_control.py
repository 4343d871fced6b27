"""The control socket: questions reach the loop and answers come back; what stands in the way is said."""

import os
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tocsin.cluster.control import Control, ask
from tocsin.errors import SettingsError, TocsinError


@contextmanager
def loop(control, respond):
    """Answer requests as a watch would, until the block ends."""
    stop = threading.Event()

    def run():
        while not stop.is_set():
            for request in control.pending():
                respond(request)
            time.sleep(0.001)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        control.close()


def echo(request):
    request.answer({"asked": request.asked, "at": datetime(2025, 1, 1, tzinfo=UTC)})


def test_a_question_is_answered_by_the_loop(tmp_path):
    path = tmp_path / "home" / "watch.sock"
    control = Control(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with loop(control, echo):
        for number in range(3):
            answer = ask(path, {"do": "value", "key": ["ä", number]})
            assert answer == {"asked": {"do": "value", "key": ["ä", number]}, "at": datetime(2025, 1, 1, tzinfo=UTC)}
    assert list(path.parent.iterdir()) == []


def test_many_may_ask_at_once(tmp_path):
    path, answers = tmp_path / "s", []
    with loop(Control(path), echo):
        threads = [threading.Thread(target=lambda n=n: answers.append(ask(path, {"n": n}))) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answer["asked"]["n"] for answer in answers) == list(range(20))


def test_a_refusal_is_raised_where_it_was_asked(tmp_path):
    with (
        loop(Control(tmp_path / "s"), lambda request: request.refuse(SettingsError("no such summary"))),
        pytest.raises(SettingsError, match="no such summary"),
    ):
        ask(tmp_path / "s", {})


def test_nothing_runs(tmp_path):
    with pytest.raises(TocsinError, match="no watch runs here"):
        ask(tmp_path / "watch.sock", {})


def test_a_stale_socket_is_replaced(tmp_path):
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with pytest.raises(TocsinError, match="no watch runs here"):
        ask(path, {})
    with loop(Control(path), echo):
        assert ask(path, {"a": 1})["asked"] == {"a": 1}


def test_a_second_watch_is_refused(tmp_path):
    with loop(Control(tmp_path / "s"), echo):
        with pytest.raises(SettingsError, match="runs here already"):
            Control(tmp_path / "s")
        assert ask(tmp_path / "s", {"a": 1})["asked"] == {"a": 1}


def test_a_path_may_be_long(tmp_path):
    path = tmp_path / ("d" * 100) / ("e" * 100) / "watch.sock"
    with loop(Control(path), echo):
        assert ask(path, {"a": 1})["asked"] == {"a": 1}
    with pytest.raises(TocsinError, match="no watch runs here"):
        ask(path, {})


def test_a_busy_watch_is_said_to_be_busy(tmp_path):
    control = Control(tmp_path / "s", timeout_s=0.05)
    with pytest.raises(TocsinError, match="busy"):
        ask(tmp_path / "s", {})
    control.close()


def test_an_ending_watch_refuses_what_waits(tmp_path):
    control = Control(tmp_path / "s")
    closing = threading.Timer(0.1, control.close)
    closing.start()
    with pytest.raises(TocsinError, match="is ending"):
        ask(tmp_path / "s", {})
    closing.join()


@pytest.mark.parametrize("line", [b"[1]\n", b"{\n", b"{}", b"\xff\n"])
def test_what_is_no_request_is_told_so(tmp_path, line):
    with loop(Control(tmp_path / "s"), echo), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "s"))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as reply:
            assert "one JSON object on a line" in reply.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to everybody's sockets")
def test_another_users_watch_is_out_of_reach(tmp_path):
    control = Control(tmp_path / "s")
    (tmp_path / "s").chmod(0)
    with pytest.raises(TocsinError, match="as the user that runs the watch"):
        ask(tmp_path / "s", {})
    control.close()


def test_no_place_to_listen(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot listen at"):
        Control(tmp_path / "file" / "s")
