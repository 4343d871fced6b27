"""Findings over the service: the same documents as `tocsin findings … --json`."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from tocsin.app import App
from tocsin.cli import cli
from tocsin.records.finding import Candidate
from tocsin.serve.auth import Caller

Clients = Callable[..., TestClient]
LIST = "/api/v1/findings"


@pytest.fixture(autouse=True)
def _found(app: App, candidate: Callable[..., Candidate]) -> None:
    later = {"start": candidate("", 1).start + timedelta(days=1), "end": candidate("", 1).end + timedelta(days=1)}
    app.verdict.judge(
        [
            candidate("10.0.0.1", 99.999),
            candidate("10.0.0.2", 99.5, kind="beacon", **later),
            candidate("fe80::1", 99.95, detector="hosts"),
        ]
    )


def entities(client: TestClient, **query: object) -> list[str]:
    answer = client.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return [each["entity"] for each in answer.json()["findings"]]


def test_the_newest_is_first(client: Clients) -> None:
    assert entities(client()) == ["10.0.0.2", "10.0.0.1", "fe80::1"]
    assert entities(client(), order="score") == ["10.0.0.1", "fe80::1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"entity": "10.0.0.1"}, ["10.0.0.1"]),
        ({"detector": "hosts"}, ["fe80::1"]),
        ({"kind": "beacon"}, ["10.0.0.2"]),
        ({"min_severity": "high"}, ["10.0.0.1", "fe80::1"]),
        ({"since": "2025-01-09"}, ["10.0.0.2"]),
        ({"until": "2025-01-09"}, ["10.0.0.1", "fe80::1"]),
        ({"since": "1d", "until": "2025-01-08"}, []),
        ({"state": "closed"}, []),
        ({"all": "true", "limit": 1}, ["10.0.0.2"]),
    ],
)
def test_the_filters_are_those_of_the_command_line(client: Clients, query: dict[str, object], expected: list[str]):
    assert entities(client(), **query) == expected


def test_pages(client: Clients) -> None:
    here, seen, after = client(), [], {}
    while True:
        page = here.get(LIST, params={"limit": 2, **after}).json()
        seen += [each["entity"] for each in page["findings"]]
        assert page["total"] == 3
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == ["10.0.0.2", "10.0.0.1", "fe80::1"]


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"limit": 0}, "limit", "greater than or equal to 1"),
        ({"limit": 1001}, "limit", "less than or equal to 1000"),
        ({"state": "odd"}, "state", "true_positive"),
        ({"severity": "high"}, "severity", "there is no"),
        ({"since": "soon"}, "since", "'soon' is no time"),
        ({"until": "9999999w"}, "until", "beyond the calendar"),
        ({"until": "0001-01-01T00:00+10:00"}, "until", "beyond the calendar"),
        ({"after": "f00"}, "after", "there is no finding 'f00'"),
    ],
)
def test_what_cannot_be_asked(client: Clients, query: dict[str, object], field: str, says: str) -> None:
    answer = client().get(LIST, params=query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["field"] == f"query.{field}"
    assert says in problem["detail"]


def test_one_finding_is_what_the_command_line_prints(app: App, client: Clients) -> None:
    here = client()
    listed = here.get(LIST).json()["findings"]
    one = listed[0]["id"]
    here.post(f"{LIST}/{one}/label", json={"state": "closed", "note": "n", "who": "ana"})

    def printed(*words: str) -> object:
        done = CliRunner().invoke(cli, ["findings", *words, "--json"], env={"TOCSIN_STORE": app.settings.store})
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert here.get(f"{LIST}/{one}").json() == printed("show", one)
    assert here.get(LIST).json()["findings"] == printed("list", "--order", "time")


def test_a_label_is_kept_with_who_said_it(client: Clients) -> None:
    here = client()
    one = here.get(LIST).json()["findings"][0]["id"]
    said = here.post(f"{LIST}/{one}/label", json={"state": "false_positive", "note": "backup"})
    assert (said.status_code, said.json()["state"]) == (200, "false_positive")
    keyed = client(Caller("soc", "write"))
    assert keyed.post(f"{LIST}/{one}/label", json={"state": "closed"}).status_code == 200
    labels = here.get(f"{LIST}/{one}").json()["labels"]
    assert [(each["state"], each["who"], each["note"]) for each in labels] == [
        ("false_positive", "anyone on this machine", "backup"),
        ("closed", "soc", ""),
    ]


def test_who_is_known_speaks_for_nobody_else(client: Clients) -> None:
    keyed = client(Caller("soc", "write"))
    one = keyed.get(LIST).json()["findings"][0]["id"]
    refused = keyed.post(f"{LIST}/{one}/label", json={"state": "closed", "who": "boss"})
    assert (refused.status_code, refused.json()["field"]) == (403, "who")
    assert keyed.get(f"{LIST}/{one}").json()["labels"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"state": "odd"}, 422),
        ({}, 422),
        ({"state": "closed", "stat": 1}, 422),
        ({"state": "closed", "note": "x" * 10_001}, 422),
        ({"state": "closed", "note": "a\x00b"}, 200),
    ],
)
def test_what_can_be_said(client: Clients, body: object, status: int) -> None:
    here = client()
    one = here.get(LIST).json()["findings"][0]["id"]
    assert here.post(f"{LIST}/{one}/label", json=body).status_code == status


def test_scopes(client: Clients) -> None:
    reader = client(Caller("looker", "score"))
    one = reader.get(LIST).json()["findings"][0]["id"]
    assert reader.post(f"{LIST}/{one}/label", json={"state": "closed"}).status_code == 403


@pytest.mark.parametrize("identity", ["f00", "%00", "a%2Fb", "..."])
def test_there_is_no_such_finding(client: Clients, identity: str) -> None:
    answer = client().get(f"{LIST}/{identity}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_beginning_of_an_id_is_none(client: Clients) -> None:
    here = client()
    one = here.get(LIST).json()["findings"][0]["id"]
    assert here.get(f"{LIST}/{one[:8]}").status_code == 404


def test_another_domain_is_not_shown(app: App, client: Clients) -> None:
    here = client()
    one = app.ledger.finding(here.get(LIST).json()["findings"][0]["id"])
    app.ledger.upsert_findings([replace(one, id="elsewhere", domain="plant")])
    assert here.get(f"{LIST}/elsewhere").status_code == 404
    assert here.get(LIST).json()["total"] == 3


def test_what_is_no_number_is_null(app: App, client: Clients, candidate: Callable[..., Candidate]) -> None:
    app.verdict.judge([candidate("odd", 99.9, raw=math.inf, records=[{"x": math.nan}])])
    (odd,) = client().get(LIST, params={"entity": "odd"}).json()["findings"]
    assert (odd["raw"], odd["records"]) == (None, [{"x": None}])
