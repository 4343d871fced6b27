import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.novelty.components import columns_of
from tocsin.errors import InputError
from tocsin.serve import incoming
from tocsin.serve.problems import Problem

KNOWN = {"partial": incoming.flag, "nearest": incoming.number(1, 100), "transformation": str}


def scope(query: str = ""):
    return {"type": "http", "query_string": query.encode()}


def problem(call, *args, **options) -> dict[str, Any]:
    with pytest.raises(Problem) as refused:
        call(*args, **options)
    return refused.value.to_dict()


def test_query_parameters_are_read():
    found = incoming.query_of(scope("partial=1&nearest=3&transformation=a%20b"), KNOWN)
    assert found == {"partial": True, "nearest": 3, "transformation": "a b"}
    assert incoming.query_of(scope(), KNOWN) == {}


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("parallelism=8", "query.parallelism", "there is no parameter 'parallelism' here"),
        ("partial=1&partial=0", "query.partial", "given twice"),
        ("partial=maybe", "query.partial", "neither 1 (true) nor 0 (false)"),
        ("nearest=0", "query.nearest", "no whole number from 1 to 100"),
        ("nearest=٣", "query.nearest", "no whole number from 1 to 100"),
    ],
)
def test_wrong_query_parameters_are_refused(query, field, told):
    refused = problem(incoming.query_of, scope(query), KNOWN)
    assert (refused["status"], refused["field"]) == (422, field)
    assert told in refused["detail"]
    assert refused["remedy"]


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        ("", incoming.JSON),
        ("application/json; charset=utf-8", incoming.JSON),
        ("application/vnd.api+json", incoming.JSON),
        ("application/x-ndjson", incoming.NDJSON),
    ],
)
def test_a_bodys_type(said, type_):
    assert incoming.body_type({b"content-type": said.encode()}, incoming.JSON, incoming.NDJSON) == type_


def test_another_type_is_refused():
    refused = problem(incoming.body_type, {b"content-type": b"text/csv"}, incoming.JSON)
    assert refused["status"] == 415
    assert "application/json" in refused["remedy"]


def receiving(*messages):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return receive


def part(body: bytes, *, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_put_together():
    assert asyncio.run(incoming.body_of(receiving(part(b"abc", more=False)))) == b"abc"
    assert asyncio.run(incoming.body_of(receiving(part(b"ab"), part(b"c"), part(b"", more=False)))) == b"abc"


def test_half_a_body_is_none():
    with pytest.raises(Problem, match="went away"):
        asyncio.run(incoming.body_of(receiving(part(b"ab"), {"type": "http.disconnect"})))


@pytest.mark.parametrize("body", [b"", b"[", b'["\\ud800"]', b"[NaN]", b'["a"] x', b"\xff"])
def test_what_is_no_json_is_refused(body):
    refused = problem(incoming.list_of, body, "a list of values")
    assert (refused["status"], refused["field"], refused["remedy"]) == (400, "body", "send a list of values")


@pytest.mark.parametrize(("body", "called"), [(b"{}", "an object"), (b"5", "a number"), (b'"a"', "text")])
def test_what_is_no_list_is_refused(body, called):
    refused = problem(incoming.list_of, body, "a list of values")
    assert (refused["status"], refused["detail"]) == (422, f"a list of values is expected, not {called}")


def test_lines_keep_their_places():
    values, wrong = incoming.lines_of([b'["a"]', b"", b' ["b"]\r', b"{nope", b'["c"]'], first=10)
    assert values == [["a"], ["b"], None, ["c"]]
    assert {place: each.told["field"] for place, each in wrong.items()} == {2: "[12]"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5))
def test_any_lines_come_back(values):
    assert incoming.lines_of(orjson.dumps(value) for value in values) == (values, {})


@pytest.mark.parametrize(
    ("rows", "field"), [([["a", "b"], ["c", {}]], "[1][1]"), ([["a", "b"], ["c"]], "[1]"), ([[]], "[0]")]
)
def test_a_refusal_names_the_place(rows, field):
    with pytest.raises(InputError) as error:
        columns_of(rows)
    refused = incoming.refusal(error.value).to_dict()
    assert (refused["status"], refused["field"]) == (422, field)
    assert not refused["detail"].startswith("[")
    assert refused["remedy"]


def test_a_refusals_place_counts_from_the_first_line_and_drops_where_there_is_one_row():
    error = InputError("[2][1]: a component is text, a number, a boolean or null, not an object")
    assert incoming.refusal(error, first=1000).to_dict()["field"] == "[1002][1]"
    assert incoming.refusal(error, single=True).to_dict()["field"] == "[1]"
    assert incoming.refusal(InputError("something else")).to_dict()["field"] == "body"
