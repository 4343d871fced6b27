"""What passes the gate: hosts, pages, sizes, times, rates; and what is logged of it."""

import asyncio
import logging
import socket
import time

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import StreamingResponse

from tocsin.serve.callers import Callers
from tocsin.serve.gate import Gate
from tocsin.serve.limits import MOST_CALLERS, Buckets
from tocsin.serve.metrics import RequestMetrics
from tocsin.serve.origin import LOOPBACK_NAMES, Origins, name_of
from tocsin.serve.problems import Problem, add_problems
from tocsin.serve.server import Serving, listen
from tocsin.settings_serve import ServeSettings, is_loopback
from tocsin.testing.clock import FakeClock


def slow_app() -> FastAPI:
    """An application with everything that goes wrong."""
    app = FastAPI()
    add_problems(app)

    @app.get("/api/sleep/{seconds}")
    async def sleep(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @app.post("/api/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/api/json")
    async def json(body: dict) -> dict:
        return body

    @app.get("/api/fault")
    async def fault() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/api/timeout")
    async def timeout() -> None:
        raise TimeoutError("somebody else's")

    @app.get("/api/drip/{pieces}")
    async def drip(pieces: int) -> StreamingResponse:
        async def body():
            for _ in range(pieces):
                await asyncio.sleep(0.2)
                yield b"."

        return StreamingResponse(body())

    @app.get("/api/broken")
    async def broken() -> StreamingResponse:
        async def body():
            yield b"half"
            raise RuntimeError("in the middle")

        return StreamingResponse(body())

    return app


@pytest.fixture
def gated():
    """Serve `slow_app` behind a gate, with settings of `serve`."""
    serving: list[Serving] = []
    clients: list[httpx2.Client] = []

    def start(per_s: float | None = None, **values) -> httpx2.Client:
        settings = ServeSettings(**{"access_log": "all", **values})
        app = slow_app()
        app.add_middleware(
            Gate,
            settings=settings,
            origins=Origins(LOOPBACK_NAMES),
            callers=Callers([]),
            buckets=Buckets(per_s, time.monotonic) if per_s else None,
            strangers=Buckets(10, time.monotonic),
            metrics=RequestMetrics(),
            now=time.monotonic,
        )
        running = Serving(app, listen("127.0.0.1", 0), settings)
        running.start()
        serving.append(running)
        clients.append(httpx2.Client(base_url=running.url, timeout=20))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
    for each in serving:
        each.stop()
        each.join()


def raw(client: httpx2.Client, text: str) -> bytes:
    """Send a request as written and return the answer's first kilobytes."""
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.settimeout(10)
        connection.sendall(text.replace("\n", "\r\n").encode())
        return connection.recv(4096)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "[::2]", ""]
)
def test_another_host_is_refused(service, host):
    answer = raw(service.client, f"GET /api/v1/admin/liveness HTTP/1.1\nHost: {host}\n\n")
    assert answer.startswith(b"HTTP/1.1 421"), answer
    assert b"serve.allowed_hosts" in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8080", "localhost:8080"])
def test_our_own_names_will_do(service, host):
    answer = raw(service.client, f"GET /api/v1/admin/liveness HTTP/1.1\nHost: {host}\n\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer


def test_two_hosts_or_none_are_refused(service):
    twice = "GET /api/v1/admin/liveness HTTP/1.1\nHost: evil.example\nHost: localhost\n\n"
    assert not raw(service.client, twice).startswith(b"HTTP/1.1 2")
    assert not raw(service.client, "GET /api/v1/admin/liveness HTTP/1.0\n\n").startswith(b"HTTP/1.1 2")


def test_a_name_may_be_allowed(start_service):
    service = start_service(allowed_hosts=["tocsin.example.org"])
    for host in ("tocsin.example.org", "localhost"):
        answer = service.client.get("/api/v1/admin/liveness", headers={"Host": host})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_change_anything(service, headers):
    answer = service.client.post("/api/v1/admin/shutdown", headers=headers)
    assert answer.status_code == 403, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert not service.stopped.is_set()


def test_a_page_of_another_site_cannot_read_but_may_link(service):
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert service.client.get("/api/v1/admin/liveness", headers=fetched).status_code == 403
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert service.client.get("/", headers=linked).status_code == 200


def test_our_own_page_may(service):
    ours = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    assert service.client.post("/api/v1/admin/reset", headers=ours).status_code == 200


def test_names_and_addresses():
    assert [name_of(host) for host in ("A.b:80", "[::1]:80", "[::1]", "::1", "x")] == [
        "a.b",
        "[::1]",
        "[::1]",
        "::1",
        "x",
    ]
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "[::1]", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4


def test_a_large_body_is_refused_before_it_is_read(gated):
    client = gated(max_body_mb=0.001)
    answer = client.post("/api/size", content=b"x" * 2000)
    assert answer.status_code == 413
    assert answer.json()["field"] == "body"
    assert "serve.max_body_mb" in answer.json()["remedy"]
    assert client.post("/api/size", content=b"x" * 1000).json() == 1000


@pytest.mark.parametrize("path", ["/api/size", "/api/json"])
def test_a_large_body_that_does_not_say_so_is_refused_while_it_is_read(gated, path):
    client = gated(max_body_mb=0.001)
    pieces = (b"x" * 500 for _ in range(10))
    answer = client.post(path, content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413, answer.text


def test_what_takes_too_long_is_refused(gated):
    client = gated(timeout_s=0.3)
    assert client.get("/api/sleep/0.01").json() == "slept"
    answer = client.get("/api/sleep/5")
    assert answer.status_code == 503
    assert "0.3 seconds" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "1"


def test_a_body_that_does_not_come_is_not_waited_for(gated):
    client = gated(timeout_s=0.3)
    began = time.monotonic()
    answer = raw(client, "POST /api/size HTTP/1.1\nHost: localhost\nContent-Length: 10\n\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert time.monotonic() - began < 5


def test_an_answer_that_goes_on_gets_its_time(gated):
    client = gated(timeout_s=0.5)
    assert client.get("/api/drip/6").text == "......"


def test_an_unexpected_error_is_told_by_number_only(gated, caplog):
    client = gated()
    answer = client.get("/api/fault?token=geheim")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    number = answer.json()["error"]
    assert number in answer.json()["remedy"]
    (told,) = [record for record in caplog.records if number in record.getMessage()]
    assert told.exc_info is not None


def test_somebody_elses_timeout_is_an_error_of_ours(gated):
    assert gated().get("/api/timeout").status_code == 500


def test_an_answer_that_breaks_shows_that_it_did(gated, caplog):
    client = gated()
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get("/api/broken")
    assert "in the middle" in caplog.text


def accesses(caplog, n: int) -> list[str]:
    """Return the access log; a line is written when the answer is away, so wait for so many."""
    for _ in range(100):
        found = [record.getMessage() for record in caplog.records if record.name == "tocsin.access"]
        if len(found) >= n:
            break
        time.sleep(0.02)
    return found


def test_the_log_tells_no_secret(gated, caplog):
    caplog.set_level(logging.DEBUG)
    client = gated()
    secret = {"Authorization": "Bearer tocsin_secret", "Cookie": "geheim"}
    client.get("/api/nothing%0aforged?key=geheim", headers=secret)
    client.post("/api/json", content=b'{"password": "geheim"', headers=secret | {"Content-Type": "application/json"})
    client.get("/api/sleep/0")
    ours = accesses(caplog, 3)
    assert [line.split()[:3] for line in ours] == [
        ["GET", "/api/nothing%0aforged", "404"],
        ["POST", "/api/json", "422"],
        ["GET", "/api/sleep/0", "200"],
    ]
    told = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "geheim" not in told
    assert "tocsin_secret" not in told


@pytest.mark.parametrize(("which", "n"), [("none", 0), ("errors", 1), ("all", 2)])
def test_how_much_is_logged_can_be_chosen(gated, caplog, which, n):
    caplog.set_level(logging.INFO)
    client = gated(access_log=which)
    client.get("/api/sleep/0")
    client.get("/api/nothing")
    assert len(accesses(caplog, n)) == n


def test_who_asks_too_often_is_told_when_to_come_back(gated):
    client = gated(per_s=0.5)
    answers = [client.get("/api/sleep/0") for _ in range(5)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert answers[-1].status_code == 429
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3


@pytest.mark.parametrize(("proxies", "expected"), [([], 429), (["127.0.0.1"], 401)])
def test_only_a_trusted_proxy_says_who_is_behind_it(start_service, proxies, expected):
    service = start_service(auth="keys", trusted_proxies=proxies, wait=False)
    for number in range(80):
        answer = service.client.get("/metrics", headers={"X-Forwarded-For": f"192.0.2.{number}"})
    assert answer.status_code == expected


def test_who_watches_the_service_is_answered_whatever_others_at_this_address_do(start_service):
    client = start_service(auth="keys", wait=False).client
    while client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code != 429:
        pass
    assert client.get("/api/v1/admin/liveness").status_code == 200


def test_what_is_too_much_at_once_is_refused(gated):
    client = gated(max_running=1)

    async def both() -> list[int]:
        async with httpx2.AsyncClient(base_url=client.base_url) as many:
            answers = await asyncio.gather(*(many.get("/api/sleep/0.5") for _ in range(3)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(both()) == [200, 503, 503]


def test_a_bucket_fills_as_time_goes():
    clock = FakeClock()
    buckets = Buckets(10, clock.monotonic)
    for _ in range(50):
        buckets.take("a")
    with pytest.raises(Problem) as refused:
        buckets.take("a")
    assert refused.value.headers["Retry-After"] == "1"
    buckets.take("b")
    clock.advance(0.2)
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(Problem):
        buckets.take("a")
    clock.advance(1000)
    for _ in range(50):
        buckets.take("a")
    with pytest.raises(Problem):
        buckets.take("a")


def test_buckets_are_bounded():
    buckets = Buckets(1, FakeClock().monotonic)
    for number in range(2 * MOST_CALLERS):
        buckets.take(str(number))
    assert len(buckets) == MOST_CALLERS
