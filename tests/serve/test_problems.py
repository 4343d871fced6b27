"""Errors as problem documents."""

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.testclient import TestClient

from tocsin.errors import (
    ConflictError,
    InputError,
    LedgerError,
    ModelError,
    NotFoundError,
    SettingsError,
    StoreError,
    TocsinError,
)
from tocsin.serve.problems import MOST_FAULTS, Problem, add_problems, problem_of


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    counts: list[int] = Field(default=[], max_length=1000)

    @field_validator("name")
    @classmethod
    def _good(cls, name: str) -> str:
        if name == "bad":
            raise ValueError("must not be bad; call it good")
        return name


@pytest.fixture
def client():
    app = FastAPI()
    add_problems(app)

    @app.post("/asked")
    def asked(body: Asked, most: int = 1) -> str:
        return body.name

    with TestClient(app) as made:
        yield made


def told(client, status: int = 422, **request):
    answer = client.post("/asked", **request)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        ({"json": {"name": "x", "nmae": 1}}, "nmae", "there is no field 'nmae'"),
        ({"json": {}}, "name", "name must be given"),
        ({"json": {"name": 7}}, "name", "string"),
        ({"json": {"name": "bad"}}, "name", "must not be bad"),
        ({"json": {"name": "x", "counts": [1, "two"]}}, "counts.1", "integer"),
        ({"json": {"name": "x"}, "params": {"most": "many"}}, "query.most", "integer"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, "body", "no JSON"),
        ({"content": b""}, "body", "body must be given"),
        (
            {"content": b'{"name": "x", "\\ud800": 1}', "headers": {"Content-Type": "application/json"}},
            "body",
            "unicode",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_wrong_with_a_request_is_named(client, request_, field, words):
    document = told(client, **request_)
    assert document["field"] == field
    assert words in document["detail"]
    assert document["remedy"]
    assert document["title"] == "Unprocessable Content"


def test_several_faults_are_listed_but_not_all_of_very_many(client):
    document = told(client, json={"name": 1, "x": 1})
    assert {each["field"] for each in document["errors"]} == {"name", "x"}
    document = told(client, json={"name": "x", "counts": ["x"] * 999})
    assert len(document["errors"]) == MOST_FAULTS


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("there is no context 'x'; GET /api/v1/novelty lists them"), 404),
        (ConflictError("it changed; read it again"), 409),
        (InputError("row 3; send text"), 422),
        (SettingsError("max_entries: too small; give more"), 422),
        (LedgerError("there is no finding 'x'; list them"), 404),
        (LedgerError("cannot use the ledger; free some space"), 503),
        (StoreError("disk full; free some space"), 503),
        (ModelError("damaged; restore it"), 503),
        (TocsinError("failed; try again"), 503),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_of_tocsin_says_whose_fault_it_is_and_what_to_do(error, status):
    problem = problem_of(error)
    detail, _, remedy = str(error).partition("; ")
    assert problem.to_dict()["detail"] == detail
    assert problem.to_dict()["remedy"] == remedy
    assert problem.status_code == status
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_a_problem_says_only_what_there_is_to_say():
    assert Problem(418).to_dict() == {"type": "about:blank", "title": "I'm a Teapot", "status": 418}
    full = Problem(400, "Odd", "so", field="f", remedy="r", headers={"X-A": "b"}, more={"n": 1})
    assert full.to_dict() | {"type": ""} == {
        "type": "",
        "title": "Odd",
        "status": 400,
        "detail": "so",
        "field": "f",
        "remedy": "r",
        "n": 1,
    }
    assert full.response().headers["x-a"] == "b"


def test_a_text_that_is_no_unicode_is_told_as_its_escape():
    assert b'"detail": "\\ud800"' in Problem(400, detail="\ud800").response().body
