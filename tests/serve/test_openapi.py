"""The service answers as its own description says, whatever is sent; bench/service_fuzz.py sends far more of it."""

from collections import Counter
from contextlib import suppress

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from tocsin.serve.problems import MEDIA_TYPE

EXAMPLES = 10
"""Requests an operation, of those that the description allows and of those that it does not."""
SHUTDOWN = "/api/v1/admin/shutdown"
CHECKS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
]


@pytest.fixture
def described(service):
    """Return the description of a service that has something of everything."""
    for context in ("web", "0"):
        service.client.post(f"/api/v1/novelty/{context}/observe/bulk", json=[["tcp", "443"], ["udp", "53"]])
    service.client.put("/api/v1/transformations/0", json={"observe": ["proto"]})
    service.client.post("/api/v1/suppressions", json={"entity": "10.0.0.1", "reason": "scanner"})
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json").exclude(path=SHUTDOWN)


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_one_that_was_described(described, mode):
    statuses = Counter()
    with requests.Session() as session:
        for operation in described.get_all_operations():

            @settings(
                max_examples=EXAMPLES,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
                deadline=None,
            )
            @given(case=operation.ok().as_strategy(generation_mode=mode))
            def send(case):
                statuses[case.call_and_validate(session=session, checks=CHECKS, timeout=30).status_code] += 1

            with suppress(Unsatisfiable):  # nothing can be wrong where nothing is asked for
                send()
    assert statuses.total() >= 150
    assert statuses[422] >= 20
    assert mode is GenerationMode.NEGATIVE or statuses[200] >= 50


def test_every_refusal_is_described_as_a_problem(service):
    for path, item in service.client.get("/openapi.json").json()["paths"].items():
        for method, operation in item.items():
            refusals = {status: answer for status, answer in operation["responses"].items() if status >= "4"}
            assert {"401", "403", "404", "422", "503"} <= refusals.keys(), (method, path)
            assert all(list(answer["content"]) == [MEDIA_TYPE] for answer in refusals.values()), (method, path)
