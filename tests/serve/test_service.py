"""The service as a whole: what it answers to what nobody asked for, and how it starts and ends."""

import httpx2


def problem(answer: httpx2.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["type"]) == (status, "about:blank")
    return document


def test_it_is_alive(service):
    answer = service.client.get("/api/v1/admin/liveness")
    assert answer.json()["status"] == "alive"
