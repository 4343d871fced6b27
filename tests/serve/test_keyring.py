"""API keys against a running service: who may do what, expiry, revocation, and what is kept of a key."""

import dataclasses
import re
import sqlite3
import time
from datetime import timedelta

import pytest

from tocsin.errors import LedgerError
from tocsin.ledger.keys import hash_of, id_of
from tocsin.serve.auth import ANYONE, Caller
from tocsin.settings_serve import SCOPES

OPEN = {"/api/v1/admin/liveness", "/api/v1/admin/readiness"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def closed(start_service):
    """A service that wants keys."""
    return start_service(auth="keys")


def test_without_a_key_nothing_of_the_api_answers(closed):
    document = closed.client.get("/openapi.json").json()
    asked = 0
    for path, item in document["paths"].items():
        for method in item:
            if path in OPEN:
                continue
            url = re.sub(r"\{[^}]*\}", "x", path)
            for headers in ({}, bearer("tocsin_00000000_x"), {"Authorization": "Basic eDp5"}):
                answer = closed.client.request(method, url, headers=headers)
                if answer.status_code == 429:
                    time.sleep(1)
                    answer = closed.client.request(method, url, headers=headers)
                assert answer.status_code == 401, (method, path, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert "tocsin keys" in answer.json()["remedy"]
                asked += 1
            closed.app.clock.sleep(0.05)
    assert asked > 10


def test_pages_and_liveness_need_none(closed):
    for path in ("/", "/docs", "/openapi.json", *OPEN):
        assert closed.client.get(path).status_code == 200, path


def test_a_scope_holds_those_before_it_and_no_other(closed):
    needs = {
        "read": ("GET", "/metrics"),
        "admin": ("POST", "/api/v1/admin/reset"),
    }
    for scope in SCOPES:
        _, token = closed.app.ledger.keys.create(f"for-{scope}", scope)
        for needed, (method, path) in needs.items():
            answer = closed.client.request(method, path, headers=bearer(token))
            may = SCOPES.index(scope) >= SCOPES.index(needed)
            assert answer.status_code == (200 if may else 403), (scope, needed, answer.text)
            if not may:
                assert repr(needed) in answer.json()["detail"]


def test_no_operation_that_changes_something_is_done_with_read(closed):
    _, token = closed.app.ledger.keys.create("reader", "read")
    document = closed.client.get("/openapi.json").json()
    for path, item in document["paths"].items():
        for method in item:
            if method == "get" or path.endswith(("/test", "/dry-run", "/dryrun")):
                continue
            url = re.sub(r"\{[^}]*\}", "x", path)
            answer = closed.client.request(method, url, headers=bearer(token), json={})
            assert answer.status_code in (403, 404, 422), (method, path, answer.text)


def test_a_key_ends_when_it_is_revoked(closed):
    key, token = closed.app.ledger.keys.create("short", "read")
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 200
    closed.app.ledger.keys.revoke("short")
    deadline = time.monotonic() + 10
    while closed.client.get("/metrics", headers=bearer(token)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (kept,) = closed.app.ledger.keys.all()
    assert (kept.id, kept.state_at(closed.app.clock.now())) == (key.id, "revoked")


def test_a_key_ends_when_it_expires(closed):
    soon = closed.app.clock.now() + timedelta(seconds=1)
    _, token = closed.app.ledger.keys.create("short", "read", soon)
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 200
    time.sleep(1.1)
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 401


def test_last_use_is_written_down(closed):
    _, token = closed.app.ledger.keys.create("used", "read")
    closed.client.get("/metrics", headers=bearer(token))
    deadline = time.monotonic() + 10
    while closed.app.ledger.keys.all()[0].last_used is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("change", ["last", "case", "id", "short", "long"])
def test_a_key_that_is_nearly_right_is_wrong(closed, change):
    _, token = closed.app.ledger.keys.create("right", "admin")
    wrong = {
        "last": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "case": token.swapcase().replace("TOCSIN", "tocsin"),
        "id": token.replace(id_of(token), "00000000"),
        "short": token[:-1],
        "long": token + "A",
    }[change]
    assert closed.client.get("/metrics", headers=bearer(wrong)).status_code == 401
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 200


def test_those_who_guess_are_slowed_down(closed):
    _, token = closed.app.ledger.keys.create("right", "read")
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 200
    wrong = bearer("tocsin_00000000_guess")
    statuses = [closed.client.get("/metrics", headers=wrong).status_code for _ in range(80)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert closed.client.get("/metrics", headers=bearer(token)).status_code == 200, "who has a key is not"


def test_of_a_key_only_its_hash_is_kept(closed):
    key, token = closed.app.ledger.keys.create("secret", "read")
    secret = token.removeprefix(f"tocsin_{key.id}_")
    assert len(secret) == 43, "256 bits"
    assert key.hash == hash_of(token)
    assert secret not in repr(key) + str(key.to_dict())
    assert "hash" not in key.to_dict()
    with sqlite3.connect(closed.app.home / "ledger.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert key.hash in dump
    assert secret not in dump


def test_a_name_is_free_again_when_its_key_ended(closed):
    keys, clock = closed.app.ledger.keys, closed.app.clock
    keys.create("one", "read")
    with pytest.raises(LedgerError, match="already"):
        keys.create("one", "read")
    keys.revoke("one")
    keys.create("one", "read", clock.now() - timedelta(seconds=1))
    keys.create("one", "read")
    with pytest.raises(LedgerError, match="no API key 'two'"):
        keys.revoke("two")


def test_what_looks_like_a_key():
    assert [id_of(text) for text in ("tocsin_ab_cd_ef", "tocsin_", "x_ab_cd", "", "tocsin")] == ["ab", "", "", "", ""]


def test_anyone_on_this_machine_may_do_everything():
    assert all(ANYONE.may(scope) for scope in SCOPES)
    assert [Caller("x", "score").may(scope) for scope in SCOPES] == [True, True, False, False]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ANYONE.scope = "read"  # type: ignore[misc]
