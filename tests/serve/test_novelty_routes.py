"""Observe and read over a real server."""

import pytest

OBSERVE = "/api/v1/novelty/flows/observe"
BULK = "/api/v1/novelty/flows/observe/bulk"
PUBLISHED = ["my", "sample", "observation"]


def test_the_published_example(service):
    service.client.post(OBSERVE, json=PUBLISHED)
    service.client.post(OBSERVE, json=["my", "sample", "other"])
    answer = service.client.post(OBSERVE, json=PUBLISHED)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    result = answer.json()
    assert result["observation"] == PUBLISHED
    assert result["sequence"] == 3
    assert result["probability"] == pytest.approx(2 / 3)
    assert result["infoContent"] == pytest.approx(0.5849625007211563)
    assert result["mostNovelComponent"] == {
        "index": 2,
        "value": "observation",
        "novelty": pytest.approx(0.5849625007211563),
    }
    assert len(result["components"]) == 3
    assert result["warm"] is False
