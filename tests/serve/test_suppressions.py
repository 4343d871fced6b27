"""Suppressions over the service: the same documents as `tocsin suppress … --json`."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from tocsin.app import App
from tocsin.cli import cli
from tocsin.errors import LedgerError
from tocsin.records.finding import Candidate
from tocsin.serve.auth import Caller

Clients = Callable[..., TestClient]
LIST = "/api/v1/suppressions"
FINDINGS = "/api/v1/findings"


@pytest.fixture(autouse=True)
def _found(app: App, candidate: Callable[..., Candidate]) -> None:
    app.verdict.judge([candidate("10.0.0.1", 99.9), candidate("10.0.0.2", 99.5), candidate("10.9.0.1", 99.4)])


def add(client: TestClient, **rule: object) -> dict[str, object]:
    answer = client.post(LIST, json={"reason": "known"} | rule)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{LIST}/{answer.json()['id']}"
    return answer.json()


def test_a_rule_hides_until_it_is_dropped(client: Clients) -> None:
    here = client()
    tried = here.post(f"{LIST}/test", json={"network": "10.0.0.0/16"}, params={"limit": 1}).json()
    assert (tried["total"], [each["entity"] for each in tried["findings"]]) == (2, ["10.0.0.1"])
    assert here.get(FINDINGS).json()["total"] == 3
    rule = add(here, network="10.0.0.0/16", owner="ana")
    assert (rule["owner"], len(rule["hidden"])) == ("ana", 2)
    assert here.get(FINDINGS).json()["total"] == 1
    assert here.get(f"{LIST}/{rule['id']}").json()["active"] is True
    assert here.delete(f"{LIST}/{rule['id']}").json() == {"id": rule["id"], "shown_again": 2}
    assert here.get(FINDINGS).json()["total"] == 3
    assert here.get(f"{LIST}/{rule['id']}").status_code == 404
    assert here.delete(f"{LIST}/{rule['id']}").status_code == 404


def test_rules_are_what_the_command_line_prints(app: App, client: Clients) -> None:
    here = client()
    add(here, field="dport", value="4444", hours="22-06", valid_from="2025-01-01", valid_until="2025-02-01")
    app.clock.sleep(1)
    add(here, entity="10.0.0.2", expires="30d")
    printed = CliRunner().invoke(cli, ["suppress", "list", "--json"], env={"TOCSIN_STORE": app.settings.store})
    told = here.get(LIST).json()["suppressions"]
    # The command's clock is the machine's, for which the second rule is over.
    assert [each | {"active": True} for each in json.loads(printed.stdout)] == told
    assert told[1]["expires"] == "2025-02-07T10:00:01Z"


def test_a_rule_that_is_over_shows_again(app: App, client: Clients) -> None:
    here = client()
    add(here, entity="10.0.0.2", expires="1h")
    assert here.get(FINDINGS).json()["total"] == 2
    app.clock.sleep(3601)
    assert here.get(FINDINGS).json()["total"] == 3
    assert [each["active"] for each in here.get(LIST).json()["suppressions"]] == [False]
    assert here.get(LIST, params={"active": True}).json()["total"] == 0


def test_pages(app: App, client: Clients) -> None:
    here = client()
    ids = []
    for number in range(3):
        ids.append(add(here, entity=f"e{number}")["id"])
        app.clock.sleep(1)
    first = here.get(LIST, params={"limit": 2}).json()
    second = here.get(LIST, params={"limit": 2, "after": first["next"]}).json()
    assert [each["id"] for page in (first, second) for each in page["suppressions"]] == ids
    assert (first["total"], second["next"]) == (3, None)
    assert here.get(LIST, params={"after": "gone"}).json()["field"] == "query.after"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "needs a condition"),
        ({"reason": ""}, "at least 1 character"),
        ({"entity": "a", "reason": " "}, "an owner and a reason"),
        ({"network": "10.0.0.0/33"}, "no CIDR block"),
        ({"hours": "25-26"}, "are no window"),
        ({"weekdays": "funday"}, "'funday' is none of"),
        ({"entity": "a", "expires": "soon"}, "'soon' is no time"),
        ({"entity": "a", "valid_from": "0001-01-01T00:00+10:00"}, "beyond the calendar"),
        ({"value": "4444", "kind": "k"}, "needs a field"),
        ({"entity": "a", "who": "b"}, "there is no"),
        ({"entity": "a", "domain": "plant"}, "there is no"),
        ({"entity": 7}, "valid string"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(client: Clients, rule: dict[str, object], says: str) -> None:
    here = client()
    answer = here.post(LIST, json={"reason": "known"} | rule)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert says in answer.json()["detail"]
    assert here.get(LIST).json()["total"] == 0


def test_scopes(client: Clients) -> None:
    reader = client(Caller("looker", "score"))
    assert reader.post(LIST, json={"reason": "r", "entity": "a"}).status_code == 403
    assert reader.post(f"{LIST}/test", json={"entity": "a"}).status_code == 200
    assert reader.delete(f"{LIST}/x").status_code == 403
    assert add(client(Caller("soc", "write")), entity="a")["owner"] == "soc"


def test_another_domains_rule_is_not_ours(app: App, client: Clients) -> None:
    here = client()
    add(here, entity="a")
    app.ledger.add_suppression(replace(app.ledger.suppressions()[0], id="theirs", domain="plant"))
    assert here.get(LIST).json()["total"] == 1
    assert here.delete(f"{LIST}/theirs").status_code == 404


def test_of_two_that_drop_a_rule_one_is_told_that_it_is_gone(
    app: App, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = add(client(), entity="10.0.0.1")["id"]

    def beaten(rule_id: str) -> int:
        app.ledger.remove_suppression(rule_id)
        raise LedgerError("there is no suppression")

    monkeypatch.setattr(app.verdict, "remove_rule", beaten)
    assert client().delete(f"{LIST}/{rule}").status_code == 404


def test_another_method_is_told_all_that_there_are(client: Clients) -> None:
    answer = client().put(f"{LIST}/x", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
