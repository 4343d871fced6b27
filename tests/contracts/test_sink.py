"""Every sink: delivers all findings and results, to a real file, server or socket, or says where and why it failed."""

import json
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tocsin.errors import SinkError
from tocsin.records.finding import Finding, Reason
from tocsin.settings_sinks import SinkSettings
from tocsin.sink import SINKS
from tocsin.sinks.build import build_sink
from tocsin.testing.clock import FakeClock

NOW = datetime(2025, 1, 8, 10, 0, 0, 250_000, tzinfo=UTC)
FINDING = Finding(
    id="a1b2",
    domain="campus",
    detector="outlier",
    kind="port-scan",
    entity="10.0.0.7",
    start=NOW,
    end=NOW + timedelta(minutes=5),
    raw=12.5,
    score=99.95,
    severity="high",
    title="10.0.0.7 touched “everything”",
    reasons=[Reason("dport", "1, 2 and 40 more", "443, 53", 0.8)],
    records=[{"flowid": "C1", "saddr": "10.0.0.7", "daddr": "9.9.9.9", "dport": 22, "proto": "tcp", "stime": NOW}],
    record_count=42,
    scope={"saddr": "10.0.0.7"},
    about="",
    model="tcp-1",
    state="new",
    count=1,
    suppressed_by="",
    created=NOW,
    updated=NOW,
)
TIME = pa.timestamp("us", "UTC")
RESULTS = pa.table(
    {
        "record": ["key", "key", "epoch"],
        "summary": ["ssh guessing"] * 3,
        "start": pa.array([NOW] * 3, TIME),
        "end": pa.array([NOW + timedelta(minutes=30)] * 3, TIME),
        "complete": [True] * 3,
        "missing": pa.array([[]] * 3, pa.list_(pa.int64())),
        "host": ["10.0.0.1", "tab\there, “é” " + "x" * 500, None],
        "attempts": [30.0, float("nan"), None],
        "servers": pa.array([2, None, None], pa.int64()),
        "some": [["a,b", "c"], [], None],
        "begin": pa.array([NOW, NOW, None], TIME),
        "records": [30, 1, 31],
        **{name: pa.array([None, None, 2], pa.int64()) for name in ("keys", "late", "evicted", "epochs")},
    }
)
SEVERAL = [replace(FINDING, id=f"id{number}", entity=f"10.0.0.{number}") for number in range(3)]


class Receiver:
    """One place on this machine that keeps what a sink delivers; `entities` reads it back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock(NOW)

    def sink(self, **changes):
        return build_sink(SinkSettings(**(self.settings() | changes)), "sinks.0", clock=self.clock)

    def results(self):
        """Read the results back: host and attempts of each record, as text, the closing one too."""
        rows = self.result_rows()
        return [(row["record"], str(row.get("host")), str(row.get("attempts"))) for row in rows]

    def close(self) -> None:
        """Let go of what was opened."""


class JsonLines(Receiver):
    def settings(self):
        return {"type": "jsonl", "path": self.folder / "new" / "findings.jsonl"}

    def entities(self):
        return [
            json.loads(line)["entity"] for line in (self.folder / "new" / "findings.jsonl").read_text().splitlines()
        ]

    def result_rows(self):
        return map(json.loads, (self.folder / "new" / "findings.jsonl").read_text().splitlines())

    def break_it(self):
        (self.folder / "new" / "findings.jsonl").mkdir(parents=True)


class Notice(Receiver):
    def settings(self):
        return {"type": "notice", "path": self.folder / "notice.log"}

    def entities(self):
        return [row["src"] for row in self.rows("notice.log")]

    def rows(self, name):
        lines = (self.folder / name).read_text().splitlines()
        names = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
        return [dict(zip(names, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]

    def result_rows(self):
        rows = self.rows("results-ssh_guessing.log")
        unescaped = [row | {"host": row["host"].replace("\\x09", "\t")} for row in rows]
        numbers = {"-": None, "nan": None, "30.0": 30.0}
        return [row | {"attempts": numbers[row["attempts"]], "host": _none(row["host"])} for row in unescaped]

    def break_it(self):
        (self.folder / "notice.log").mkdir()
        (self.folder / "results-ssh_guessing.log").mkdir()


class Parquet(Receiver):
    def settings(self):
        return {"type": "parquet", "path": self.folder / "findings"}

    def entities(self):
        files = sorted((self.folder / "findings").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [entity for path in files for entity in pq.read_table(path).column("entity").to_pylist()]

    def result_rows(self):
        (path,) = (self.folder / "findings").iterdir()
        table = pq.read_table(path)
        assert table.schema.equals(RESULTS.schema)
        rows = table.to_pylist()
        return [row | {"attempts": None if row["attempts"] != row["attempts"] else row["attempts"]} for row in rows]

    def break_it(self):
        (self.folder / "findings").write_text("in the way")


class Webhook(Receiver):
    def __init__(self, folder):
        super().__init__(folder)
        self.answers: list[int] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def settings(self):
        return {"type": "webhook", "url": f"http://127.0.0.1:{self.server.server_address[1]}/in?token=t"}

    def entities(self):
        return [each["entity"] for _, body in self.requests for each in json.loads(body)["findings"]]

    def result_rows(self):
        return [row for _, body in self.requests for row in json.loads(body)["results"]]

    def break_it(self):
        self.answers = [403]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class SyslogUdp(Receiver):
    def __init__(self, folder):
        super().__init__(folder)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.port = self.socket.getsockname()[1]
        self.host = "127.0.0.1"

    def settings(self):
        return {"type": "syslog", "host": self.host, "port": self.port, "protocol": "udp"}

    def entities(self):
        return [message.split(b'entity="')[1].split(b'"')[0].decode() for message in self.messages()]

    def messages(self):
        self.socket.settimeout(0)
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65535))
            except BlockingIOError:
                return messages

    def result_rows(self):
        return _syslog_rows(self.messages())

    def break_it(self):
        self.host = "no such host"

    def close(self):
        self.socket.close()


class SyslogTcp(Receiver):
    def __init__(self, folder):
        super().__init__(folder)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.streams: list[bytes] = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            with connection, connection.makefile("rb") as stream:
                received = stream.read()
            if received == b"stop":
                return
            self.streams.append(received)

    def stop(self):
        if self.thread.is_alive():
            with socket.create_connection(("127.0.0.1", self.socket.getsockname()[1])) as connection:
                connection.sendall(b"stop")
            self.thread.join()

    def settings(self):
        return {"type": "syslog", "host": "127.0.0.1", "port": self.port, "protocol": "tcp"}

    def entities(self):
        return [message.split(b'entity="')[1].split(b'"')[0].decode() for message in self.messages()]

    def messages(self):
        self.stop()
        found, rest = [], b"".join(self.streams)
        while rest:
            length, _, rest = rest.partition(b" ")
            message, rest = rest[: int(length)], rest[int(length) :]
            found.append(message)
        return found

    def result_rows(self):
        return _syslog_rows(self.messages())

    def break_it(self):
        self.stop()
        self.socket.close()

    def close(self):
        self.stop() if self.socket.fileno() >= 0 else None
        self.socket.close()


def _none(cell):
    return None if cell == "-" else cell


def _syslog_rows(messages):
    """Return the results in messages, with a cut text as it was."""
    rows = []
    for message in messages:
        head, _, text = message.partition(b"\xef\xbb\xbf")
        assert b'tocsin - result [result@32473 record="' in head
        row = json.loads(text)
        long = RESULTS.column("host")[1].as_py()
        rows.append(row | ({"host": long} if str(row.get("host")) == long[:199] + "…" else {}))
    return rows


RECEIVERS = {
    "jsonl": JsonLines,
    "notice": Notice,
    "parquet": Parquet,
    "webhook": Webhook,
    "syslog-udp": SyslogUdp,
    "syslog-tcp": SyslogTcp,
}


@pytest.fixture(params=RECEIVERS)
def receiver(request, tmp_path):
    made = RECEIVERS[request.param](tmp_path)
    yield made
    made.close()


def test_every_registered_sink_is_here():
    assert {name.partition("-")[0] for name in RECEIVERS} == set(SINKS)


def test_delivers_everything_in_order(receiver):
    sink = receiver.sink()
    sink.send(SEVERAL)
    sink.send([FINDING])
    sink.close()
    assert receiver.entities() == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.7"]


def test_delivers_every_result_in_order(receiver):
    sink = receiver.sink(min_severity="critical")
    sink.send_results(RESULTS)
    sink.close()
    long = RESULTS.column("host")[1].as_py()
    assert receiver.results() == [("key", "10.0.0.1", "30.0"), ("key", long, "None"), ("epoch", "None", "None")]


def test_nothing_to_deliver_is_no_delivery(receiver):
    sink = receiver.sink()
    sink.send([])
    sink.send_results(RESULTS.slice(0, 0))
    sink.close()
    assert not list(receiver.folder.iterdir())
    assert not getattr(receiver, "requests", [])


def test_only_what_is_grave_enough(receiver):
    sink = receiver.sink(min_severity="critical")
    sink.send([FINDING, replace(FINDING, entity="10.6.6.6", severity="critical")])
    sink.close()
    assert receiver.entities() == ["10.6.6.6"]


def test_a_failure_says_where(receiver):
    receiver.break_it()
    sink = receiver.sink()
    with pytest.raises(SinkError) as caught:
        sink.send([FINDING])
    receiver.answers = [403]
    with pytest.raises(SinkError):
        sink.send_results(RESULTS)
    sink.close()
    message = str(caught.value)
    assert "\n" not in message
    assert "token" not in message
    where = receiver.settings()
    assert any(str(where[key]).split("?")[0] in message for key in ("path", "url", "host") if where.get(key))


def test_place_tells_where_without_secrets(receiver):
    sink = receiver.sink(secret="hush")
    assert sink.place.startswith(receiver.settings()["type"])
    assert "token" not in sink.place
    assert "hush" not in sink.place
    sink.close()
