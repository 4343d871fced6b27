"""Contexts over a real server: made, looked at, moved, corrected."""

import pytest

from tocsin.serve.auth import SCOPES

CONTEXTS = "/api/v1/novelty"
FLOWS = [["tcp", "443", "ssl"], ["tcp", "80", "http"], ["tcp", "443", "ssl"], ["udp", "53", "dns"]] * 10


@pytest.fixture
def client(service):
    service.client.post(f"{CONTEXTS}/flows/observe/bulk", json=FLOWS)
    return service.client


def told(answer, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def scores(client, context: str) -> list[float]:
    answer = client.post(f"{CONTEXTS}/{context}/read/bulk", json=[*FLOWS[:4], ["tcp", "22", "ssh"]])
    return [row["score"] for row in answer.json()]


def test_contexts_are_listed(client):
    client.post(f"{CONTEXTS}/a/observe", json=["x"])
    one, flows = client.get(CONTEXTS).json()["contexts"]
    assert (one["name"], one["observed"], one["length"]) == ("a", 1, 1)
    assert (flows["name"], flows["observed"], flows["length"], flows["warm"]) == ("flows", 40, 3, False)
    assert flows["entries"] > 0
    assert flows["nbytes"] > 0
    assert flows["rate_per_s"] > 0
    assert flows["last_observed"] >= flows["created"]


def test_one_context_tells_its_values_and_scores(client):
    detail = client.get(f"{CONTEXTS}/flows", params={"most": 2}).json()
    assert [each["field"] for each in detail["top"]] == ["0", "1", "2"]
    assert detail["top"][1]["values"] == [{"value": "443", "count": 20}, {"value": "80", "count": 10}]
    assert sum(detail["histogram"]["counts"]) == 40
    assert len(detail["histogram"]["edges"]) == len(detail["histogram"]["counts"]) + 1
    assert told(client.get(f"{CONTEXTS}/other"), 404)["remedy"] == "the first observation creates it"


def test_a_context_is_created_with_options(client):
    options = {"order": "auto", "fields": ["proto", "port"], "half_life": 1000, "bins": {"port": {"edges": [0, 1024]}}}
    made = client.put(f"{CONTEXTS}/made", json=options)
    assert made.status_code == 201
    assert made.json()["options"]["half_life"] == 1000
    assert (made.json()["fields"], made.json()["order"], made.json()["length"]) == (["proto", "port"], "auto", 2)
    assert "already" in told(client.put(f"{CONTEXTS}/made", json=options), 409)["detail"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"order": "random"}, "order"),
        ({"fields": ["a", "a"]}, "fields"),
        ({"half_life": 1000, "window": 1000}, "half_life and window"),
        ({"window": 1}, "window"),
        ({"bins": {"port": {"edges": [1, 2]}}}, "bins.port"),
        ({"bins": {"0": {"edges": [2, 1]}}}, "bins.0.edges"),
        ({"bins": {"0": {}}}, "bins.0"),
        ({"halflife": 5}, "halflife"),
    ],
)
def test_wrong_options_are_refused(client, options, field):
    assert told(client.put(f"{CONTEXTS}/made", json=options), 422)["field"] == field
    assert [each["name"] for each in client.get(CONTEXTS).json()["contexts"]] == ["flows"]


def test_a_context_is_deleted_and_reset(client):
    assert client.post(f"{CONTEXTS}/flows/reset").json()["observed"] == 0
    assert client.delete(f"{CONTEXTS}/flows").status_code == 204
    assert client.get(CONTEXTS).json() == {"contexts": []}
    told(client.delete(f"{CONTEXTS}/flows"), 404)
    told(client.post(f"{CONTEXTS}/flows/reset"), 404)


def test_export_and_import_leave_every_score_equal(client):
    exported = client.get(f"{CONTEXTS}/flows/export")
    assert exported.headers["content-disposition"] == 'attachment; filename="flows.novelty"'
    imported = client.post(f"{CONTEXTS}/copy/import", content=exported.content)
    assert (imported.status_code, imported.json()["observed"]) == (201, 40)
    assert scores(client, "copy") == scores(client, "flows")
    told(client.post(f"{CONTEXTS}/copy/import", content=exported.content), 409)
    assert client.post(f"{CONTEXTS}/copy/import?replace=true", content=exported.content).status_code == 201


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 and so on"])
def test_what_is_no_export_is_not_imported(client, content):
    assert told(client.post(f"{CONTEXTS}/copy/import", content=content), 422)["field"] == "body"
    assert len(client.get(CONTEXTS).json()["contexts"]) == 1


def test_merging_is_as_if_one_had_seen_both(client):
    client.post(f"{CONTEXTS}/one/observe/bulk", json=FLOWS[:25])
    client.post(f"{CONTEXTS}/two/observe/bulk", json=FLOWS[25:])
    assert client.post(f"{CONTEXTS}/one/merge", json={"from": "two"}).json()["observed"] == 40
    assert scores(client, "one") == scores(client, "flows")
    assert told(client.post(f"{CONTEXTS}/one/merge", json={"from": "one"}), 422)["field"] == "from"
    told(client.post(f"{CONTEXTS}/one/merge", json={"from": "none"}), 404)
    client.post(f"{CONTEXTS}/short/observe", json=["a"])
    told(client.post(f"{CONTEXTS}/one/merge", json={"from": "short"}), 422)


def test_what_is_forgotten_was_never_seen(client):
    answer = client.post(f"{CONTEXTS}/flows/forget", json={"pattern": ["tcp", {"low": 100, "high": 500}, None]})
    assert answer.json() == {"forgotten": 20}
    top = client.get(f"{CONTEXTS}/flows").json()["top"]
    assert {each["value"] for each in top[1]["values"]} == {"80", "53"}
    told(client.post(f"{CONTEXTS}/flows/forget", json={"pattern": ["tcp"]}), 422)
    told(client.post(f"{CONTEXTS}/flows/forget", json={"pattern": [None, None, None]}), 422)
    told(client.post(f"{CONTEXTS}/flows/forget", json={"pattern": ["a", {"low": 1, "least": 2}, None]}), 422)


def test_feedback_lowers_until_it_is_undone(client):
    before = client.post(f"{CONTEXTS}/flows/read", json=["tcp", "22", "ssh"]).json()["score"]
    body = {"observation": ["tcp", "22", None], "strength": 0.99, "note": "the backup"}
    given = client.post(f"{CONTEXTS}/flows/feedback", json=body)
    assert given.status_code == 201
    document = given.json()
    assert (document["observation"], document["note"]) == (["tcp", "22", None], "the backup")
    assert document["by"] == "anyone on this machine"
    assert client.get(f"{CONTEXTS}/flows/feedback").json() == {"feedbacks": [document]}
    client.post(f"{CONTEXTS}/flows/observe", json=["tcp", "22", "ssh"])
    client.post(f"{CONTEXTS}/plain/observe/bulk", json=[*FLOWS, ["tcp", "22", "ssh"]])
    lowered = client.post(f"{CONTEXTS}/flows/read", json=["tcp", "22", "ssh"]).json()["score"]
    assert lowered < client.post(f"{CONTEXTS}/plain/read", json=["tcp", "22", "ssh"]).json()["score"] <= before
    undone = client.delete(f"{CONTEXTS}/flows/feedback/{document['id']}")
    assert undone.json() == document
    assert client.get(f"{CONTEXTS}/flows/feedback").json() == {"feedbacks": []}
    assert scores(client, "flows") == scores(client, "plain")
    told(client.delete(f"{CONTEXTS}/flows/feedback/{document['id']}"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"observation": ["tcp"]},
        {"observation": [None, None, None]},
        {"observation": ["tcp", "22", None], "strength": 0},
        {"observation": ["tcp", "22", {}]},
        {"observations": ["tcp", "22", None]},
    ],
)
def test_wrong_feedback_is_refused(client, body):
    told(client.post(f"{CONTEXTS}/flows/feedback", json=body), 422)
    assert client.get(f"{CONTEXTS}/flows/feedback").json() == {"feedbacks": []}


def test_the_nearest(client):
    found = client.post(f"{CONTEXTS}/flows/nearest", json={"observation": ["tcp", 443, "none"], "most": 1}).json()
    assert found == {"nearest": [{"observation": ["tcp", "443", "ssl"], "count": 20, "differs": [2]}]}
    told(client.post(f"{CONTEXTS}/other/nearest", json={"observation": ["a"]}), 404)
    told(client.post(f"{CONTEXTS}/flows/nearest", json={"observation": ["a"]}), 422)


def test_what_was_novel_of_late(client):
    client.post(f"{CONTEXTS}/flows/observe/bulk", json=FLOWS * 50)
    novel = client.post(f"{CONTEXTS}/flows/observe", json=["gre", "9", "odd"]).json()
    assert novel["score"] > 0.9
    found = client.get(f"{CONTEXTS}/recent", params={"least": 0.9, "most": 1}).json()["observations"]
    assert [(each["context"], each["result"]) for each in found] == [("flows", novel)]
    here = client.get(f"{CONTEXTS}/flows/recent", params={"since": "1h"}).json()["observations"]
    assert here[0] == found[0]
    assert client.get(f"{CONTEXTS}/recent", params={"context": "other"}).json() == {"observations": []}
    assert client.get(f"{CONTEXTS}/recent", params={"since": "2999-01-01"}).json() == {"observations": []}
    told(client.get(f"{CONTEXTS}/other/recent"), 404)
    client.post(f"{CONTEXTS}/flows/reset")
    assert client.get(f"{CONTEXTS}/recent").json() == {"observations": []}


def test_unknown_parameters_are_refused(client):
    for path in ("", "/flows", "/recent", "/flows/recent", "/flows/export", "/flows/feedback"):
        assert told(client.get(f"{CONTEXTS}{path}?odd=1"), 422)["field"] == "query.odd"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/flows/observe", "score"),
        ("POST", "/flows/observe/bulk", "score"),
        ("POST", "/flows/read", "score"),
        ("POST", "/flows/read/bulk", "score"),
        ("POST", "/flows/nearest", "score"),
        ("POST", "/flows/upload?observe=a", "score"),
        ("GET", "", "read"),
        ("GET", "/flows", "read"),
        ("GET", "/flows/export", "read"),
        ("PUT", "/flows", "write"),
        ("DELETE", "/flows", "write"),
        ("POST", "/flows/import", "write"),
        ("POST", "/flows/merge", "write"),
        ("POST", "/flows/forget", "write"),
        ("POST", "/flows/feedback", "write"),
        ("POST", "/flows/reset", "write"),
    ],
)
def test_scopes(start_service, method, path, scope):
    service = start_service(auth="keys")
    assert told(service.client.request(method, f"{CONTEXTS}{path}"), 401)["remedy"]
    for held in SCOPES:
        _, token = service.app.ledger.keys.create(held, held)
        answer = service.client.request(method, f"{CONTEXTS}{path}", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code == 403) == (SCOPES.index(held) < SCOPES.index(scope))


def test_a_kind_of_the_wrong_length_is_named(service):
    service.client.post("/api/v1/novelty/web/observe", json=["a", "b"])
    for path, field in (("forget", "pattern"), ("feedback", "observation")):
        answer = service.client.post(f"/api/v1/novelty/web/{path}", json={field: ["a"]})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert answer.json()["remedy"]
