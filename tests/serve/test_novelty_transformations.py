"""Transformations over a real server: kept, tried out, used."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

TRANSFORMATIONS = "/api/v1/transformations"
CONN = {"observe": ["proto", "service", "resp_port // 1000"], "where": "proto <> 'icmp'"}
RECORDS = [
    {"proto": "tcp", "service": "http", "resp_port": 8080, "more": [1, 2]},
    {"proto": "icmp", "resp_port": 3},
    {"proto": "udp", "resp_port": 53},
]
FAILS = {"observe": ["CAST(port AS INTEGER)"]}
BULK = "/api/v1/novelty/flows/observe/bulk"


@pytest.fixture
def client(service):
    service.client.put(f"{TRANSFORMATIONS}/conn", json=CONN)
    service.client.put(f"{TRANSFORMATIONS}/fails", json=FAILS)
    return service.client


def told(answer, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    return answer.json()


def test_they_are_kept_by_name(client):
    made = client.put(f"{TRANSFORMATIONS}/second", json={"observe": ["a"]})
    assert (made.status_code, made.json()) == (201, {"name": "second", "observe": ["a"], "where": ""})
    changed = client.put(f"{TRANSFORMATIONS}/second", json={"observe": ["b"]})
    assert (changed.status_code, changed.json()["observe"]) == (200, ["b"])
    assert client.get(f"{TRANSFORMATIONS}/conn").json() == {"name": "conn", **CONN}
    names = [each["name"] for each in client.get(TRANSFORMATIONS).json()["transformations"]]
    assert names == ["conn", "fails", "second"]
    assert client.delete(f"{TRANSFORMATIONS}/second").status_code == 204
    told(client.get(f"{TRANSFORMATIONS}/second"), 404)
    told(client.delete(f"{TRANSFORMATIONS}/second"), 404)


def test_one_that_somebody_changed_meanwhile_is_not_overwritten(client):
    tag = client.get(f"{TRANSFORMATIONS}/conn").headers["etag"]
    changed = client.put(f"{TRANSFORMATIONS}/conn", json={"observe": ["a"]}, headers={"If-Match": tag})
    assert changed.status_code == 200
    problem = told(client.put(f"{TRANSFORMATIONS}/conn", json=CONN, headers={"If-Match": tag}), 409)
    assert "changed by somebody else" in problem["detail"]
    assert client.get(f"{TRANSFORMATIONS}/conn").json()["observe"] == ["a"]


def test_what_is_kept_survives_a_restart(start_service):
    first = start_service()
    first.client.put(f"{TRANSFORMATIONS}/conn", json=CONN)
    first.running.stop()
    first.running.join()
    assert start_service().client.get(f"{TRANSFORMATIONS}/conn").json()["observe"] == CONN["observe"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"observe": ["proto", "port //"]}, "observe.1"),
        ({"observe": ["nosuch(a)"]}, "observe.0"),
        ({"observe": ["a"], "where": "sum(a) > 1"}, "where"),
        ({"observe": []}, "observe"),
        ({"observe": ["a"], "script": "x"}, "script"),
        ({}, "observe"),
    ],
)
def test_what_is_none_is_refused_with_its_place(client, document, field):
    problem = told(client.put(f"{TRANSFORMATIONS}/new", json=document), 422)
    assert problem["field"] == field
    told(client.get(f"{TRANSFORMATIONS}/new"), 404)


def test_one_is_tried_out(client):
    def tried(record, **more):
        return client.post(f"{TRANSFORMATIONS}/dry-run", json={"record": record, **more})

    assert tried(RECORDS[0], name="conn").json() == {"observation": ["tcp", "http", "8"], "left_out": False}
    assert tried(RECORDS[0], **CONN).json() == {"observation": ["tcp", "http", "8"], "left_out": False}
    assert tried(RECORDS[1], name="conn").json() == {"observation": None, "left_out": True}
    problem = told(tried({"port": "http"}, name="fails"), 422)
    assert (problem["field"], problem["in"], problem["expression"]) == ("record", "observe.0", FAILS["observe"][0])
    assert "http" in problem["detail"]
    assert told(tried({"a": 1}, observe=["a +"]), 422)["field"] == "observe.0"
    told(tried({"a": 1}), 422)
    told(tried({"a": 1}, name="conn", observe=["a"]), 422)
    told(tried({"a": 1}, name="none"), 404)
    assert client.get("/api/v1/novelty").json() == {"contexts": []}


def test_records_are_observed_through_one(client):
    one = client.post("/api/v1/novelty/flows/observe?transformation=conn", json=RECORDS[0])
    assert one.json()["observation"] == ["tcp", "http", "8"]
    left_out = client.post("/api/v1/novelty/flows/observe?transformation=conn", json=RECORDS[1])
    assert (left_out.status_code, left_out.json()) == (200, None)
    many = client.post(f"{BULK}?transformation=conn", json=RECORDS).json()
    assert [row and row["observation"] for row in many] == [["tcp", "http", "8"], None, ["udp", "null", "0"]]
    assert [row and row["sequence"] for row in many] == [2, None, 3]
    lines = b"\n".join(json.dumps(record).encode() for record in RECORDS)
    streamed = client.post(
        f"{BULK}?transformation=conn&partial=1", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert [json.loads(line) and json.loads(line)["sequence"] for line in streamed.iter_lines()] == [4, None, 5]
    read = client.post("/api/v1/novelty/flows/read?transformation=conn", json=RECORDS[0])
    assert read.json()["observation"] == ["tcp", "http", "8"]


def test_a_record_that_fails_is_told_with_its_expression(client):
    problem = told(client.post("/api/v1/novelty/ports/observe?transformation=fails", json={"port": "x"}), 422)
    assert (problem["field"], problem["expression"]) == ("body", FAILS["observe"][0])
    records = [{"port": "1"}, {"port": "x"}, 7]
    bulk = "/api/v1/novelty/ports/observe/bulk?transformation=fails"
    assert told(client.post(bulk, json=records), 422)["field"] == "[1]"
    assert client.get("/api/v1/novelty").json() == {"contexts": []}
    results = client.post(f"{bulk}&partial=1", json=records).json()
    assert results[0]["observation"] == ["1"]
    assert [result["error"]["field"] for result in results[1:]] == ["[1]", "[2]"]


def test_records_of_another_length_than_the_contexts_are_refused(client):
    client.post("/api/v1/novelty/flows/observe", json=["a"])
    told(client.post(f"{BULK}?transformation=conn", json=RECORDS), 422)
    results = client.post(f"{BULK}?transformation=conn&partial=1", json=RECORDS).json()
    assert [result and result["error"]["field"] for result in results] == ["[0]", None, "[2]"]


def test_one_that_is_not_there_is_said(client):
    told(client.post(f"{BULK}?transformation=none", json=RECORDS), 404)
    told(client.post(f"{BULK}?transformation=..", json=RECORDS), 422)
    told(client.post(f"{BULK}?transformation=conn", content=b"", headers={"content-type": "text/plain"}), 415)


def test_sql_that_sleeps_or_looks_elsewhere_is_refused(client):
    for sql in ("pg_sleep(100)", "(SELECT count(*) FROM rows)", "(SELECT content FROM read_text('/etc/hostname'))"):
        problem = told(client.post(f"{TRANSFORMATIONS}/dry-run", json={"observe": [sql], "record": {}}), 422)
        assert problem["field"] == "observe.0"
        assert problem["remedy"]
        upload = client.post("/api/v1/novelty/flows/upload", params={"observe": sql}, content=b"a\n1\n")
        assert told(upload, 422)["field"] == "query.observe"


def test_heavy_sql_holds_up_nobody_else(client):
    heavy = "list_sum(list_transform([a,a,a,a,a,a,a,a,a,a], lambda a1: " * 9 + "a" + "))" * 9
    client.put(f"{TRANSFORMATIONS}/heavy", json={"observe": [heavy.replace("lambda a1", "lambda q")]})
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(client.post, BULK, params={"transformation": "heavy"}, json=[{"a": 1}] * 100)
        began = time.monotonic()
        while not asked.done():
            assert client.get("/api/v1/admin/liveness").status_code == 200
            assert client.post("/api/v1/novelty/x/observe", json=["a"]).status_code == 200
            time.sleep(0.05)
    assert asked.result().status_code in (422, 503)
    assert time.monotonic() - began < 25
