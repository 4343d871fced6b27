"""Observe and read over a real server, one observation and many."""

import json
import re
import socket
import threading
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

ONE = "/api/v1/novelty/flows/observe"
MANY = "/api/v1/novelty/flows/observe/bulk"
READ = "/api/v1/novelty/flows/read"
READ_MANY = "/api/v1/novelty/flows/read/bulk"
CONTEXT = "/api/v1/novelty/flows"
PUBLISHED = ["my", "sample", "observation"]
LINES = {"content-type": "application/x-ndjson"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
FLOWS = [["tcp", "443", "ssl"], ["tcp", "80", "http"], ["tcp", "443", "ssl"], ["udp", "53", "dns"]] * 5


def observed(service) -> int:
    answer = service.client.get(CONTEXT)
    return answer.json()["observed"] if answer.status_code == 200 else 0


def told(answer, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def lines(rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_the_published_example(service):
    service.client.post(ONE, json=PUBLISHED)
    service.client.post(ONE, json=["my", "sample", "other"])
    answer = service.client.post(ONE, json=PUBLISHED)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    result = answer.json()
    assert result["observation"] == PUBLISHED
    assert (result["sequence"], result["warm"]) == (3, False)
    assert result["probability"] == 2 / 3
    assert result["infoContent"] == 0.5849625007211563
    assert result["mostNovelComponent"] == {"index": 2, "value": "observation", "novelty": 0.5849625007211563}
    assert len(result["components"]) == 3


def test_numbers_booleans_and_null_are_taken_as_text(service):
    result = service.client.post(ONE, json=["a", 443, 443.0, 1.5, True, None]).json()
    assert result["observation"] == ["a", "443", "443", "1.5", "true", "null"]
    again = service.client.post(ONE, json=["a", "443", "443", "1.5", "true", "null"]).json()
    assert again["probability"] == 1.0


def test_reading_changes_nothing_and_needs_a_context(service):
    assert told(service.client.post(READ, json=PUBLISHED), 404)["detail"].startswith("there is no context 'flows'")
    service.client.post(MANY, json=FLOWS)
    first = service.client.post(READ, json=FLOWS[0]).json()
    assert service.client.post(READ, json=FLOWS[0]).json() == first
    assert service.client.post(READ_MANY, json=FLOWS[:1]).json() == [first]
    assert observed(service) == 20


def test_one_by_one_at_once_and_in_bulk_give_the_same(service):
    single = [service.client.post("/api/v1/novelty/a/observe", json=flow).json() for flow in FLOWS]
    bulk = service.client.post("/api/v1/novelty/b/observe/bulk", json=FLOWS).json()
    by_lines = service.client.post("/api/v1/novelty/c/observe/bulk", content=lines(FLOWS), headers=LINES)
    streamed = service.client.post("/api/v1/novelty/d/observe/bulk?partial=1", content=lines(FLOWS), headers=LINES)
    assert bulk == single
    assert by_lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in by_lines.content.splitlines()] == single
    assert [json.loads(line) for line in streamed.content.splitlines()] == single


def test_arrow_in_and_out(service):
    table = pa.table({"proto": [row[0] for row in FLOWS], "port": pa.array([int(row[1]) for row in FLOWS])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    answer = service.client.post(MANY, content=sink.getvalue().to_pybytes(), headers=ARROW)
    assert answer.headers["content-type"] == ARROW["content-type"]
    found = pa.ipc.open_stream(answer.content).read_all()
    expected = service.client.post("/api/v1/novelty/b/observe/bulk", json=[row[:2] for row in FLOWS]).json()
    assert found["score"].to_pylist() == [row["score"] for row in expected]
    assert found["bits"].to_pylist() == [[part["bits"] for part in row["components"]] for row in expected]
    assert found["mostNovelComponent"].to_pylist() == [row["mostNovelComponent"]["index"] for row in expected]
    assert found["sequence"].to_pylist() == list(range(1, 21))


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"\xff\xff\xff\xff\x08\x00\x00\x00aaaaaaaa"])
def test_what_is_no_arrow_stream_is_refused(service, content):
    assert told(service.client.post(MANY, content=content, headers=ARROW), 400)["field"] == "body"
    assert observed(service) == 0


@pytest.mark.parametrize(
    ("body", "status", "field", "detail"),
    [
        (b'["a", {}]', 422, "[1]", "not an object"),
        (b'["a", ["b"]]', 422, "[1]", "not a list"),
        (b"[]", 422, "body", "1 to 32 components"),
        (b'{"a": 1}', 422, "body", "not an object"),
        (b"nothing", 400, "body", "no JSON"),
        (b'["a", "\\ud800"]', 400, "body", "no JSON"),
        (json.dumps(["a", "x" * 70_000]).encode(), 422, "[1]", "65536"),
        (json.dumps(["a"] * 33).encode(), 422, "body", "1 to 32"),
    ],
)
def test_what_is_no_observation_is_refused(service, body, status, field, detail):
    for path in (ONE, f"{ONE}?nearest=2"):
        problem = told(service.client.post(path, content=body), status)
        assert problem["field"] == field
        assert detail in problem["detail"]
        assert problem["remedy"]
    assert observed(service) == 0


def test_other_lengths_are_refused(service):
    service.client.post(ONE, json=PUBLISHED)
    problem = told(service.client.post(ONE, json=["my", "sample"]), 422)
    assert "3 components, not 2" in problem["detail"]
    assert observed(service) == 1


def test_one_that_is_wrong_does_not_harm_those_that_wait_with_it(service):
    service.client.post(ONE, json=PUBLISHED)
    answers: list[int] = []

    def send(observation):
        answers.extend(service.client.post(ONE, json=observation).status_code for _ in range(20))

    threads = [threading.Thread(target=send, args=(rows,)) for rows in (PUBLISHED, ["a"], PUBLISHED, PUBLISHED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 60 + [422] * 20
    assert observed(service) == 61


@pytest.mark.parametrize(
    ("rows", "field"),
    [([["a", "b"], ["c", {}]], "[1][1]"), ([["a", "b"], ["c"]], "[1]"), ([["a"], "b"], "[1]"), ([["a"], None], "[1]")],
)
def test_bulk_is_all_or_nothing(service, rows, field):
    for options in ({"json": rows}, {"content": lines(rows), "headers": LINES}):
        problem = told(service.client.post(MANY, **options), 422)
        assert problem["field"] == field
    assert observed(service) == 0


def test_partial_bulk_says_what_is_wrong_in_its_place(service):
    rows = [["a", "b"], ["c", {}], ["a"], ["a", "c"], 5]
    for options in ({"json": rows}, {"content": lines(rows[:1]) + b"{nope\n" + lines(rows[2:]), "headers": LINES}):
        before = observed(service)
        answer = service.client.post(f"{MANY}?partial=1", **options)
        assert answer.status_code == 200
        results = [json.loads(line) for line in answer.content.splitlines()] if "content" in options else answer.json()
        assert [result.get("sequence") for result in results] == [before + 1, None, None, before + 2, None]
        problems = [result["error"] for result in results if "error" in result]
        assert [problem["field"].partition("]")[0] for problem in problems] == ["[1", "[2", "[4"]
        assert problems[1]["detail"] == "it has 1 components, this context's observations have 2"
        assert observed(service) == before + 2


def test_an_empty_bulk_is_answered_emptily(service):
    assert service.client.post(MANY, json=[]).json() == []
    assert service.client.post(MANY, content=b"\n", headers=LINES).content == b""
    assert service.client.post(f"{MANY}?partial=1", content=b"", headers=LINES).content == b""
    assert observed(service) == 0


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_lines_are_answered_while_they_come(service):
    rows = [["a", str(number % 7)] for number in range(5000)]
    address = urlsplit(service.url)
    head = f"POST {MANY}?partial=1 HTTP/1.1\r\nhost: {address.netloc}\r\ntransfer-encoding: chunked\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=20) as sending:
        sending.sendall(f"{head}content-type: {LINES['content-type']}\r\nconnection: close\r\n\r\n".encode())
        sending.sendall(chunk(lines(rows[:2500])))
        received = b""
        while b'"sequence":2000,' not in received:  # 500 lines wait for their block to be whole
            received += sending.recv(65_536)
        sending.sendall(chunk(lines(rows[2500:])) + chunk(b""))
        while piece := sending.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 200")
    assert [int(number) for number in re.findall(rb'"sequence":(\d+),', received)] == list(range(1, 5001))
    assert observed(service) == 5000


def test_many_lines_from_a_sender_that_reads_late(service):
    rows = [["a", str(number % 7)] for number in range(20_000)]
    answer = service.client.post(f"{MANY}?partial=1", content=iter([lines(rows)]), headers=LINES)
    assert len(answer.content.splitlines()) == 20_000


def test_a_request_sent_again_counts_once(service):
    key = {"Idempotency-Key": "k1"}
    first = service.client.post(MANY, json=FLOWS, headers=key).json()
    assert service.client.post(MANY, json=FLOWS, headers=key).json() == first
    assert observed(service) == 20
    problem = told(service.client.post(MANY, json=FLOWS[:3], headers=key), 422)
    assert "used for other observations" in problem["detail"]
    one = service.client.post(ONE, json=FLOWS[0], headers={"Idempotency-Key": "k2"}).json()
    assert service.client.post(ONE, json=FLOWS[0], headers={"Idempotency-Key": "k2"}).json() == one
    assert observed(service) == 21


def test_a_key_that_is_too_long_is_refused_whatever_is_sent(service):
    for body in ([], FLOWS):
        problem = told(service.client.post(MANY, json=body, headers={"Idempotency-Key": "k" * 101}), 422)
        assert problem["field"] == "header.Idempotency-Key"
    longest = {"Idempotency-Key": "\xe4".encode("latin-1") * 100}
    stream = service.client.post(f"{MANY}?partial=1", content=lines(FLOWS), headers=LINES | longest)
    assert b"error" not in stream.content


def test_streamed_lines_sent_again_count_once(service):
    options = {"content": lines(FLOWS * 200), "headers": LINES | {"Idempotency-Key": "k"}}
    first = service.client.post(f"{MANY}?partial=1", **options).content
    assert service.client.post(f"{MANY}?partial=1", **options).content == first
    assert observed(service) == 4000


def test_the_nearest_known_ones(service):
    service.client.post(MANY, json=FLOWS)
    result = service.client.post(f"{ONE}?nearest=1", json=["tcp", "443", "none"]).json()
    assert result["nearest"] == [{"observation": ["tcp", "443", "ssl"], "count": 10.0, "differs": [2]}]
    many = service.client.post(f"{READ_MANY}?nearest=2", json=FLOWS[:2]).json()
    assert [len(row["nearest"]) for row in many] == [2, 2]
    assert service.client.post("/api/v1/novelty/new/observe?nearest=3", json=["a"]).json()["nearest"] == []


def test_nearest_is_for_a_few(service):
    problem = told(service.client.post(f"{MANY}?nearest=1", json=[["a"]] * 101), 422)
    assert problem["field"] == "query.nearest"


@pytest.mark.parametrize(
    "query", ["parallelism=4", "nearest=0", "nearest=21", "partial=perhaps", "nearest=1&nearest=2"]
)
def test_unknown_and_wrong_parameters_are_refused(service, query):
    problem = told(service.client.post(f"{MANY}?{query}", json=FLOWS), 422)
    assert problem["field"] == f"query.{query.partition('=')[0]}"
    assert observed(service) == 0


def test_other_types_of_bodies_are_refused(service):
    told(service.client.post(ONE, content=b"a,b", headers={"content-type": "text/csv"}), 415)
    told(service.client.post(ONE, content=lines(FLOWS), headers=LINES), 415)
    assert service.client.post(ONE, content=b'["a"]', headers={"content-type": ""}).status_code == 200


@pytest.mark.parametrize("name", ["%20", ".a", "a%00", "x" * 65, "recent", "%F0%9F%92%A9"])
def test_bad_names_are_refused(service, name):
    assert told(service.client.post(f"/api/v1/novelty/{name}/observe", json=["a"]), 422)["field"] == "context"


def test_paths_beside_them_are_no_paths(service):
    for path in ("/api/v1/novelty/a/b/observe", "/api/v1/novelty//observe", "/api/v1/other/a/observe"):
        assert service.client.post(path, json=["a"]).status_code in (404, 405)
    assert service.client.get(ONE).status_code in (404, 405)


def test_what_was_acknowledged_is_there_after_a_restart(start_service):
    first = start_service()
    result = first.client.post(MANY, json=FLOWS).json()
    first.running.stop()
    first.running.join()
    assert observed(start_service()) == len(result)


def stream(table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_an_arrow_stream_without_rows_is_answered_with_one_of_the_same_kind(service):
    found = []
    for rows in ([], ["x", "y"]):
        table = pa.table({"a": pa.array(rows, pa.string()), "b": pa.array(rows, pa.string())})
        answer = service.client.post("/api/v1/novelty/arrows/observe/bulk", content=stream(table), headers=ARROW)
        found.append(pa.ipc.open_stream(answer.content).read_all())
    assert [each.num_rows for each in found] == [0, 2]
    assert found[0].schema == found[1].schema


def test_an_arrow_column_of_lists_is_refused_as_a_list_in_json_is(service):
    body = stream(pa.table({"a": [[1]], "b": ["x"]}))
    answer = service.client.post("/api/v1/novelty/arrows/observe/bulk", content=body, headers=ARROW)
    assert (answer.status_code, answer.json()["field"]) == (422, "body.a")


def test_more_observations_than_a_request_may_hold_are_refused(service):
    service.client.post("/api/v1/novelty/many/observe", json=["a"])
    nothing = pa.table({"a": pa.nulls(2_000_000_000)})
    bulk = "/api/v1/novelty/many/observe/bulk"
    for answer in (
        service.client.post(bulk, content=b"[" + b"5," * 1_000_000 + b"5]", params={"partial": 1}),
        service.client.post(bulk, content=b"5\n" * 1_000_001, headers={"content-type": "application/x-ndjson"}),
        service.client.post(bulk, content=stream(nothing), headers=ARROW),
    ):
        assert (answer.status_code, answer.json()["field"]) == (413, "body")
        assert "1,000,000" in answer.json()["detail"]
    assert service.client.get("/api/v1/novelty/many").json()["observed"] == 1


def test_a_stream_that_is_much_larger_unpacked_is_refused(service, monkeypatch):
    monkeypatch.setattr("tocsin.serve.arrow.MOST_UNPACKED_BYTES", 1_000_000)
    known = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 100]))
    answer = service.client.post(
        "/api/v1/novelty/packed/observe/bulk", content=stream(pa.table({"a": known})), headers=ARROW
    )
    assert (answer.status_code, answer.json()["field"]) == (413, "body")
    assert service.client.get("/api/v1/novelty").json() == {"contexts": []}
