"""Serving in a thread: addresses, the end, and what breaks."""

import socket
import threading
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from tocsin.errors import SettingsError, TocsinError
from tocsin.serve.server import Serving, listen, url_of
from tocsin.settings_serve import ServeSettings


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("[::1]", "http://[::1]:")])
def test_an_address_becomes_a_url(host, url):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with listen(host, 0) as bound:
        assert url_of(bound).startswith(url)
        assert bound.getsockname()[1] > 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "999.1.1.1", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_told(host):
    with pytest.raises(SettingsError, match=r"serve\.(host|port): .*" + host.replace(".", r"\.")):
        listen(host, 0)


def test_it_serves_until_it_is_stopped():
    ended = threading.Event()
    running = Serving(FastAPI(), listen("127.0.0.1", 0), ServeSettings(), ended=ended.set)
    running.start()
    assert httpx2.get(f"{running.url}/openapi.json").status_code == 200
    assert not running.join(0.01)
    running.stop()
    assert running.join(10)
    assert ended.is_set()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(running.url)


def test_one_that_cannot_start_says_so_and_ends(caplog):
    @asynccontextmanager
    async def broken(app):
        raise RuntimeError("no good")
        yield

    ended = threading.Event()
    running = Serving(FastAPI(lifespan=broken), listen("127.0.0.1", 0), ServeSettings(), ended=ended.set)
    running.start()
    assert ended.wait(10), "whoever waits for its end is told"
    with pytest.raises(TocsinError, match="could not be started"):
        running.join(10)
    assert "no good" in caplog.text
