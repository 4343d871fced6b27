"""The service as a whole: what it answers to what nobody asked for, how it starts, and how it ends."""

import json
import logging
import socket
import threading
import time

import httpx2
import pytest

from tocsin.app import App
from tocsin.app_serve import service_parts, serving
from tocsin.errors import SettingsError
from tocsin.serve.server import Serving, listen
from tocsin.serve.service import make_service
from tocsin.settings import Settings

OPEN = {"/api/v1/admin/liveness", "/api/v1/admin/readiness"}


def problem(answer: httpx2.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["type"]) == (status, "about:blank")
    assert "Traceback" not in answer.text
    return document


def test_it_is_alive_and_ready(service):
    assert service.client.get("/api/v1/admin/liveness").json()["status"] == "alive"
    assert service.client.get("/api/v1/admin/readiness").json()["status"] == "ready"


def test_what_is_not_there_is_a_problem(service):
    document = problem(service.client.get("/api/v1/nothing"), 404)
    assert "/docs" in document["remedy"]
    problem(service.client.get("/nothing"), 404)
    problem(service.client.get("/api/v1/admin/liveness/"), 404)


def test_another_method_is_a_problem_that_names_the_right_one(service):
    answer = service.client.get("/api/v1/admin/shutdown")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    problem(service.client.options("/api/v1/admin/liveness", headers={"Origin": service.url}), 405)


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET /?x=" + b"0" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_what_is_no_http_is_a_problem_too(service, sent):
    address = httpx2.URL(service.url)
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["remedy"].startswith("send HTTP/1.1")


def test_no_answer_allows_other_origins(service):
    answer = service.client.get("/api/v1/admin/liveness", headers={"Origin": service.url})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "header", "expected"),
    [
        ("/api/v1/admin/liveness", "content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("/api/v1/admin/liveness", "cache-control", "no-store"),
        ("/", "x-frame-options", "DENY"),
        ("/", "referrer-policy", "no-referrer"),
        ("/", "x-content-type-options", "nosniff"),
        ("/docs", "x-content-type-options", "nosniff"),
    ],
)
def test_every_answer_has_the_headers_that_keep_browsers_safe(service, path, header, expected):
    assert service.client.get(path).headers[header] == expected


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(service, path):
    answer = service.client.get(path)
    assert answer.status_code == 200
    assert "http://" not in answer.text.replace(service.url, "")
    assert "https://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy or "default-src 'self'" in policy
    assert "script-src 'self';" in policy


def test_the_documentation_comes_along(service):
    text = service.client.get("/docs").text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"/docs/{name}" in text
        assert service.client.get(f"/docs/{name}").status_code == 200
    document = service.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "security" not in document["paths"]["/api/v1/admin/shutdown"]["post"]


def test_the_description_says_where_a_key_is_needed(start_service):
    paths = start_service(auth="keys").client.get("/openapi.json").json()["paths"]
    assert paths["/api/v1/admin/shutdown"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in paths["/api/v1/admin/liveness"]["get"]


def test_every_path_of_the_api_describes_its_problems(service):
    document = service.client.get("/openapi.json").json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation["responses"]["422"]["content"]
            assert list(content) == ["application/problem+json"], (method, path)
            assert operation.get("summary"), (method, path)


def test_metrics_count_what_was_answered(service):
    service.client.get("/api/v1/admin/liveness")
    service.client.get("/api/v1/nothing")
    time.sleep(0.1)  # an answer is counted when it is away
    text = service.client.get("/metrics").text
    assert 'tocsin_requests_total{method="GET",path="/api/v1/admin/liveness",status="200"}' in text
    assert 'tocsin_requests_total{method="GET",path="other",status="404"}' in text
    assert 'tocsin_request_seconds_bucket{le="+Inf",path="/api/v1/admin/liveness"}' in text


def test_metrics_tell_what_contexts_hold(service):
    assert "tocsin_contexts 0.0" in service.client.get("/metrics").text
    for name in ("a", "b"):
        service.client.post(f"/api/v1/novelty/{name}/observe", json=["tcp", "443"])
    text = service.client.get("/metrics").text
    assert "tocsin_contexts 2.0" in text
    assert "tocsin_context_observed 2.0" in text
    assert "tocsin_context_bytes " in text


def test_a_stop_that_was_asked_for_ends_it(service):
    assert service.client.post("/api/v1/admin/shutdown").status_code == 202
    assert service.stopped.wait(5)


def test_a_taken_port_is_named_with_the_remedy(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = App(Settings(store=str(tmp_path), serve={"port": port}))
        with (
            pytest.raises(SettingsError, match=rf"serve.port: cannot listen on 127.0.0.1:{port}: .*--port"),
            serving(app, app.settings.serve, threading.Event()),
        ):
            pass
        app.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_needs_authentication(tmp_path, host):
    app = App(Settings(store=str(tmp_path), serve={"port": 0, "host": host}))
    with (
        pytest.raises(SettingsError, match=r"serve\.auth is none; set serve\.auth: keys"),
        serving(app, app.settings.serve, threading.Event()),
    ):
        pass
    app.close()


def test_with_authentication_it_may_listen_everywhere(start_service):
    service = start_service(host="0.0.0.0", auth="keys", wait=False)
    assert service.client.get("/api/v1/admin/liveness").status_code == 200


def test_it_listens_on_ipv6_loopback_too(start_service):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    service = start_service(host="::1")
    assert service.url.startswith("http://[::1]:")
    assert service.client.get("/api/v1/admin/liveness").status_code == 200


def test_a_running_request_is_finished_when_it_stops(start_service):
    service = start_service()
    body = b'{"entity": "10.0.0.1", "reason": "slow sender", "owner": "me"}'
    host = service.url.removeprefix("http://")
    address, port = host.split(":")
    with socket.create_connection((address, int(port))) as slow:
        head = f"POST /api/v1/suppressions/test HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        time.sleep(0.3)
        service.client.post("/api/v1/admin/shutdown")
        stopping = threading.Thread(target=service.running.stop)
        stopping.start()
        time.sleep(0.5)
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the kernel likes
            socket.create_connection((address, int(port)), timeout=1).close()
        slow.sendall(body[10:])
        answer = slow.recv(100_000)
        stopping.join()
    assert answer.startswith(b"HTTP/1.1 "), answer
    assert b" 503 " not in answer.splitlines()[0]


def test_while_contexts_are_read_back_it_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    app = App(Settings(store=str(tmp_path)))
    go_on = threading.Event()
    parts = service_parts(app, app.settings.serve)
    opened = parts.open_contexts

    def slowly():
        go_on.wait(30)
        return opened()

    parts.open_contexts = slowly
    running = Serving(make_service(parts), listen("127.0.0.1", 0), app.settings.serve)
    running.start()
    with httpx2.Client(base_url=running.url) as client:
        assert client.get("/api/v1/admin/liveness").status_code == 200
        answer = client.get("/api/v1/admin/readiness")
        assert problem(answer, 503)["missing"] == {"contexts": "they are being read back from disk"}
        assert answer.headers["retry-after"] == "1"
        problem(client.get("/api/v1/novelty"), 503)
        deadline = time.monotonic() + 20
        while "getting ready, reading the contexts back from" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        go_on.set()
        while client.get("/api/v1/admin/readiness").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get("/api/v1/novelty").status_code == 200
    running.stop()
    running.join()
    app.close()


def test_it_is_not_ready_without_its_store(service, tmp_path):
    store = tmp_path / "store"
    store.rename(tmp_path / "away")
    store.write_text("no folder")
    document = problem(service.client.get("/api/v1/admin/readiness"), 503)
    assert "store" in document["missing"]
    assert service.client.get("/api/v1/admin/liveness").status_code == 200
    store.unlink()
    (tmp_path / "away").rename(store)
    assert service.client.get("/api/v1/admin/readiness").status_code == 200
