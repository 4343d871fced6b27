import base64
import hashlib
import hmac
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tocsin.errors import SettingsError, SinkError
from tocsin.sinks.webhook import BATCH, WebhookSink, signing_key
from tocsin.testing.clock import FakeClock


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.server.requests.append((dict(self.headers.items()), body))
            answer = self.server.answers.pop(0) if self.server.answers else 200
            if answer == "hang up":
                self.close_connection = True
                return
            self.send_response(answer)
            self.send_header("content-length", str(len(self.server.says)))
            self.end_headers()
            self.wfile.write(self.server.says)

        def log_message(self, *args):
            """Say nothing."""

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.requests, made.answers, made.says = [], [], b"no such tenant\nand more"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{made.server_address[1]}/in"
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def sink(server):
    made = WebhookSink(server.url, secret="s3cret", clock=FakeClock(), wait_s=2.0)
    yield made
    made.close()


def verify(headers, body, secret=b"s3cret"):
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{digest}")


def test_the_receiver_can_verify_it(server, sink, finding):
    sink.send([finding])
    ((headers, body),) = server.requests
    assert verify(headers, body)
    assert json.loads(body)["findings"][0] == json.loads(json.dumps(finding.to_dict()))
    # Planted faults: another body, another time, another secret.
    assert not verify(headers, body + b" ")
    assert not verify(headers | {"webhook-timestamp": "1"}, body)
    assert not verify(headers, body, b"other")


def test_tries_again_with_back_off_and_the_same_id(server, sink, finding):
    clock = sink._clock
    server.answers = [503, "hang up", 429]
    sink.send([finding])
    assert clock.monotonic() == 2 + 4 + 8
    assert len(server.requests) == 4
    assert len({headers["webhook-id"] for headers, _ in server.requests}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in server.requests}) == 4
    assert all(verify(headers, body) for headers, body in server.requests)


def test_gives_up_at_last(server, sink, finding):
    server.answers = [500] * 9
    with pytest.raises(SinkError, match="answered 500 no such tenant; gave up after 5 attempts"):
        sink.send([finding])
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [301, 400, 401, 404])
def test_a_refusal_is_final(server, sink, finding, status):
    server.answers = [status]
    with pytest.raises(SinkError, match=f"answered {status} no such tenant$"):
        sink.send([finding])
    assert len(server.requests) == 1


def test_many_go_in_several_requests(server, sink, finding):
    sink.send([replace(finding, id=str(number)) for number in range(BATCH + 1)])
    assert [len(json.loads(body)["findings"]) for _, body in server.requests] == [BATCH, 1]


def test_without_a_secret_there_is_no_signature(server, finding):
    sink = WebhookSink(server.url, clock=FakeClock())
    sink.send([finding])
    sink.close()
    assert "webhook-signature" not in server.requests[0][0]


def test_nobody_there(finding):
    sink = WebhookSink("http://127.0.0.1:1/in", clock=FakeClock(), attempts=2)
    with pytest.raises(SinkError, match=r"webhook http://127\.0\.0\.1:1/in: ConnectError"):
        sink.send([finding])
    sink.close()


def test_keys():
    assert signing_key("plain") == b"plain"
    assert signing_key("whsec_" + base64.b64encode(b"key").decode()) == b"key"
    with pytest.raises(SettingsError, match="no base64"):
        signing_key("whsec_*")
