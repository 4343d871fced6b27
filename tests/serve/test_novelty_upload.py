"""Files sent to a context over a real server."""

import gzip
import io
import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CSV = b"proto,port,service\n" + b"tcp,443,ssl\ntcp,80,http\nudp,53,dns\n" * 100
ZEEK = (
    b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tssh\n"
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tclient\n"
    b"#types\ttime\tstring\taddr\tport\taddr\tport\tstring\n"
    + b"1736330400.000000\tCabcdefghijklm1\t10.0.0.1\t50000\t10.0.0.2\t22\tSSH-2.0-x\n"
    * 3
)
UPLOAD = "/api/v1/novelty/flows/upload"


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"proto": ["tcp"] * 5, "port": range(5)}), sink)
    return sink.getvalue()


def told(answer, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    return answer.json()


def finished(client, answer) -> dict[str, object]:
    upload = told(answer, 202)
    assert answer.headers["location"] == f"/api/v1/uploads/{upload['id']}"
    for _ in range(600):
        upload = client.get(f"/api/v1/uploads/{upload['id']}").json()
        if upload["state"] != "running":
            return upload
        time.sleep(0.05)
    raise AssertionError(upload)


@pytest.mark.parametrize(
    ("content", "query", "observed"),
    [
        (CSV, "observe=proto&observe=port", 300),
        (CSV, "observe=proto&observe=CAST(port AS INT) // 10&where=CAST(port AS INT) > 60&format=csv", 200),
        (gzip.compress(CSV), "observe=proto&observe=port", 300),
        (b'{"proto": "tcp", "id": {"resp_p": 1}}\n' * 7, "observe=proto&observe=id.resp_p", 7),
        (parquet(), "observe=proto&observe=port", 5),
        (ZEEK, "observe=id.orig_h&observe=client&kind=zeek.ssh", 3),
    ],
    ids=["csv", "csv, where", "csv.gz", "ndjson", "parquet", "zeek"],
)
def test_a_file_is_observed(service, content, query, observed):
    upload = finished(service.client, service.client.post(f"{UPLOAD}?{query}", content=content))
    assert (upload["state"], upload["observed"], upload["rejected"], upload["error"]) == ("finished", observed, 0, "")
    assert upload["size_bytes"] == len(content)
    context = service.client.get("/api/v1/novelty/flows").json()
    assert (context["observed"], context["length"]) == (observed, 2)


def test_a_file_is_observed_through_a_transformation(service):
    service.client.put("/api/v1/transformations/conn", json={"observe": ["proto", "port"], "where": "proto = 'tcp'"})
    upload = finished(service.client, service.client.post(f"{UPLOAD}?transformation=conn", content=CSV))
    assert upload["observed"] == 200


def test_what_cannot_be_used_is_counted_with_its_reason(service):
    content = b'{"a": 1}\nnope\n{"a": 2}\n'
    upload = finished(service.client, service.client.post(f"{UPLOAD}?observe=a", content=content))
    assert (upload["state"], upload["observed"], upload["rejected"]) == ("finished", 2, 1)
    assert upload["reasons"][0].startswith("row 2: no valid JSON")


@pytest.mark.parametrize(
    ("content", "query", "error"),
    [
        (b"", "observe=a", "the file: is empty"),
        (CSV, "observe=prto", "did you mean 'proto'?"),
        (CSV, "observe=proto&format=parquet", "cannot be read as Parquet"),
        (b"\0\0\0", "observe=a", "neither a log"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(service, content, query, error):
    upload = finished(service.client, service.client.post(f"{UPLOAD}?{query}", content=content))
    assert upload["state"] == "failed"
    assert error in upload["error"]
    assert str(service.app.home) not in json.dumps(upload)


def test_one_of_another_length_fails(service):
    service.client.post("/api/v1/novelty/flows/observe", json=["a"])
    upload = finished(service.client, service.client.post(f"{UPLOAD}?observe=proto&observe=port", content=CSV))
    assert (upload["state"], upload["observed"]) == ("failed", 0)
    assert "1 components, not 2" in upload["error"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "query.observe"),
        ("observe=a //", "query"),
        ("observe=a&transformation=b", "query.transformation"),
        ("observe=a&format=doc", "query.format"),
        ("observe=a&kind=!", "query"),
        ("observe=a&colour=red", "query.colour"),
    ],
)
def test_wrong_questions_are_refused(service, query, field):
    assert told(service.client.post(f"{UPLOAD}?{query}", content=CSV), 422)["field"] == field


def test_a_file_that_breaks_off_is_learned_so_far_and_says_so(service):
    answer = service.client.post(UPLOAD, params={"observe": "proto"}, content=gzip.compress(CSV)[:-6])
    upload = finished(service.client, answer)
    assert (upload["state"], upload["observed"]) == ("finished", 300)
    assert upload["error"].startswith("the file: ")


def test_a_word_that_no_context_may_be_called_is_refused(service):
    answer = service.client.post("/api/v1/novelty/recent/upload", params={"observe": "proto"}, content=CSV)
    assert told(answer, 422)["field"] == "context"
    assert service.client.get("/api/v1/novelty").json() == {"contexts": []}


def test_uploads_are_listed_and_cancelled(service):
    client = service.client
    large = b"proto,port\n" + b"".join(b"tcp,%d\n" % (number % 60_000) for number in range(1_500_000))
    begun = told(client.post(f"{UPLOAD}?observe=proto&observe=port", content=large), 202)
    cancelled = client.delete(f"/api/v1/uploads/{begun['id']}").json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["observed"] < 1_500_000
    assert client.get("/api/v1/uploads").json() == {"uploads": [cancelled]}
    observed = client.get("/api/v1/novelty").json()["contexts"]
    assert [each["observed"] for each in observed if each["observed"]] == [cancelled["observed"]] * bool(
        cancelled["observed"]
    )
    assert list((service.app.home / "uploads").iterdir()) == []
    told(client.get("/api/v1/uploads/none"), 404)
    told(client.delete("/api/v1/uploads/none"), 404)


def test_what_a_killed_process_left_is_removed(service):
    folder = service.app.home / "uploads"
    folder.mkdir()
    (folder / "left").write_text("a,b\n")
    finished(service.client, service.client.post(f"{UPLOAD}?observe=proto", content=CSV))
    assert list(folder.iterdir()) == []


def test_a_stop_ends_uploads(service):
    large = b"proto,port\n" + b"".join(b"tcp,%d\n" % (number % 60_000) for number in range(1_000_000))
    told(service.client.post(f"{UPLOAD}?observe=proto&observe=port", content=large), 202)
    service.running.stop()
    assert service.running.join(20)
    assert list((service.app.home / "uploads").iterdir()) == []
