"""Jobs and status over the service."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from tocsin.app import App
from tocsin.cli import cli
from tocsin.jobs.claims import claim

Clients = Callable[..., TestClient]
LIST = "/api/v1/jobs"


@pytest.fixture(autouse=True)
def _done(app: App) -> None:
    for name, domain, outcome in (
        ("sample", app.domain, "ok"),
        ("train", app.domain, "failed"),
        ("train", "plant", "ok"),
        ("train", app.domain, ""),
    ):
        job = app.ledger.start_job(name, domain=domain, piece="tcp", owner="here")
        app.clock.sleep(1)
        if outcome:
            app.ledger.finish_job(job, outcome, "a note", {"rows": 3})


def test_jobs_newest_first(client: Clients) -> None:
    told = client().get(LIST).json()
    assert [(job["name"], job["outcome"]) for job in told["jobs"]] == [
        ("train", "running"),
        ("train", "failed"),
        ("sample", "ok"),
    ]
    assert told["jobs"][0]["finished"] is None
    assert (told["jobs"][2]["counts"], told["running"], told["next"]) == ({"rows": 3}, [], None)


def test_filters_and_pages(client: Clients) -> None:
    here = client()
    assert [job["id"] for job in here.get(LIST, params={"outcome": "failed"}).json()["jobs"]] == [2]
    first = here.get(LIST, params={"name": "train", "limit": 1}).json()
    assert ([job["id"] for job in first["jobs"]], first["next"]) == ([4], 4)
    second = here.get(LIST, params={"name": "train", "limit": 1, "after": first["next"]}).json()
    assert ([job["id"] for job in second["jobs"]], second["next"]) == ([2], None)


def test_who_works_on_what(app: App, client: Clients) -> None:
    with claim(app.store, f"{app.domain}/claims/train-tcp.json", owner="me", clock=app.clock, expiry_s=60):
        running = client().get(LIST).json()["running"]
    assert [(each["piece"], each["owner"]) for each in running] == [("train-tcp", "me")]


def test_status_is_what_the_command_line_prints(app: App, client: Clients) -> None:
    printed = CliRunner().invoke(cli, ["status", "--json"], env={"TOCSIN_STORE": app.settings.store})
    told = client().get("/api/v1/status").json()
    theirs = json.loads(printed.stdout)
    assert theirs.pop("next")[0]["name"] == told.pop("next")[0]["name"] == "sample"
    assert told == theirs
    assert [job["outcome"] for job in told["jobs"]] == ["ok", "running"]


@pytest.mark.parametrize("query", ["limit=0", "outcome=odd", "after=x", f"after={2**63}", "page=2"])
def test_what_cannot_be_asked(client: Clients, query: str) -> None:
    answer = client().get(f"{LIST}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert client().get("/api/v1/status?x=1").status_code == 422
