"""Heads of requests that never end, by size or by time."""

import contextlib
import socket
import time

import pytest

from tocsin.serve import protocol


def connect(service) -> socket.socket:
    connection = socket.create_connection((service.client.base_url.host, service.client.base_url.port))
    connection.settimeout(20)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return what comes until the other side hangs up."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            found += piece
    return found


GOOD = b"GET /api/v1/admin/liveness HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"x" * 1000, GOOD + b"X-Endless: ", GOOD],
    ids=["path", "one header", "headers"],
)
def test_a_head_that_does_not_end_is_cut_off(service, endless):
    piece = b"X-More: yes\r\n" * 100 if endless == GOOD else b"x" * 1000
    with connect(service) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(endless)
        for _ in range(500):
            connection.sendall(piece)
            time.sleep(0.001)
        pytest.fail("half a megabyte was taken")


def test_what_is_no_http_is_told_so(service):
    with connect(service) as connection:
        connection.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        told = answer(connection)
    assert told.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"application/problem+json" in told
    assert b"no HTTP request" in told


@pytest.mark.parametrize("sent", [b"", b"G", GOOD], ids=["nothing", "a byte", "half"])
def test_a_head_that_does_not_come_is_not_waited_for(service, monkeypatch, sent):
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    began = time.monotonic()
    with connect(service) as connection:
        connection.sendall(sent)
        assert answer(connection) == b""
    assert time.monotonic() - began < 10


def test_the_second_head_of_a_connection_has_its_time_too(service, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    with connect(service) as connection:
        connection.sendall(GOOD + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        time.sleep(1)  # between requests it may be silent
        connection.sendall(GOOD)
        assert answer(connection) == b""


def test_a_head_in_pieces_is_whole(service):
    with connect(service) as connection:
        for byte in GOOD + b"Connection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_a_large_body_in_one_piece_is_no_large_head(service):
    body = b" " * 200_000 + b"{}"
    answer = service.client.post(
        "/api/v1/suppressions/test", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code != 400, answer.text


def large_answer(service) -> socket.socket:
    """Return a connection on which an answer of some forty megabytes begins to come."""
    body = b"[" + b'["a"],' * 150_000 + b'["a"]]'
    connection = connect(service)
    head = b"POST /api/v1/novelty/web/observe/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def test_who_takes_nothing_of_an_answer_is_hung_up_on(service, monkeypatch):
    monkeypatch.setattr(protocol, "STALL_S", 0.3)
    with large_answer(service) as connection:
        time.sleep(2)
        assert len(answer(connection)) < 30_000_000  # what the system had taken already


def test_who_takes_an_answer_slowly_gets_all_of_it(service, monkeypatch):
    monkeypatch.setattr(protocol, "STALL_S", 0.5)
    with large_answer(service) as connection:
        taken, began = 0, time.monotonic()
        while taken < 30_000_000 and (piece := connection.recv(262_144)):
            taken += len(piece)
            if time.monotonic() - began < 2:
                time.sleep(0.02)
        assert taken >= 30_000_000
