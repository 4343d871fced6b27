"""SQL over batches: names, what is missing, rows that fail, and the same answers as plain Python."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import InputError, SettingsError
from tocsin.records import expressions
from tocsin.records.expressions import evaluate, syntax_error
from tocsin.records.selection import Selection, bind, columns_of


def batch(**columns) -> pa.Table:
    return pa.table({name.replace("__", "."): values for name, values in columns.items()})


def select(table: pa.Table, sql: str, where: str = ""):
    found = Selection({"out": sql}, where, what="summaries.0").select(table)
    return found.rows.tolist(), found.columns["out"].to_pylist(), found.failed


HOSTS = batch(id__orig_h=["a", "b", "a"], bytes=[10, 20, None], good=[True, None, False])


@pytest.mark.parametrize(
    ("sql", "where", "rows", "values"),
    [
        ("id.orig_h", "", [0, 1, 2], ["a", "b", "a"]),
        ('"id.orig_h"', "", [0, 1, 2], ["a", "b", "a"]),
        ("1", "", [0, 1, 2], [1, 1, 1]),
        ("-2.5", "good", [0], [-2.5]),
        ("id.orig_h", "good", [0], ["a"]),
        ("bytes", "id.orig_h = 'a'", [0, 2], [10, None]),
        ("ID.Orig_H || '!'", "", [0, 1, 2], ["a!", "b!", "a!"]),
        ("id.orig_h.upper()", "", [0, 1, 2], ["A", "B", "A"]),
        ("'id.orig_h' || id.orig_h", "bytes > 15", [1], ["id.orig_hb"]),
        ("bytes * 2 /* id.x */", "NOT good", [2], [None]),
        ("coalesce(id.resp_h, id.orig_h)", "", [0, 1, 2], ["a", "b", "a"]),
        ("bytes + nothing", "", [0, 1, 2], [None, None, None]),
        ("bytes", "nothing > 3", [], []),
    ],
)
def test_values_and_rows(sql, where, rows, values):
    assert select(HOSTS, sql, where) == (rows, values, {})


def test_names_of_three_parts_structs_and_lambdas():
    table = batch(a__b__c=["x", "y"], d=[{"e": 1}, {"e": 2}], f=[[{"g": 1}], [{"g": 2}, {"g": 3}]])
    assert select(table, "a.b.c || ''")[1] == ["x", "y"]
    assert select(table, "d.e + 1")[1] == [2, 3]
    assert select(table, "list_transform(f, lambda g: g.g)")[1] == [[1], [2, 3]]


def test_a_column_or_number_alone_does_not_touch_duckdb(monkeypatch):
    selection = Selection({"host": "id.orig_h", "one": "1"}, "good", what="t")
    whole = Selection({"bytes": "bytes"}, what="t")
    monkeypatch.setattr("tocsin.records.selection.own_connection", pytest.fail)
    assert selection.select(HOSTS).columns["host"].to_pylist() == ["a"]
    assert whole.select(HOSTS).columns["bytes"].buffers()[1].address == HOSTS["bytes"].chunk(0).buffers()[1].address


def test_a_missing_column_is_told_once_with_what_may_be_meant(caplog):
    selection = Selection({"host": "lower(id.orig_g)"}, what="summaries.ssh")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert selection.select(HOSTS).columns["host"].to_pylist() == [None, None, None]
        selection.select(HOSTS.append_column("more", pa.nulls(3)))
    (message,) = [record.message for record in caplog.records]
    assert message == ("summaries.ssh: there is no column 'id.orig_g', it counts as NULL; did you mean 'id.orig_h'?")


@pytest.mark.parametrize("sql", ["user", "upper(user)", "USER", "coalesce(current_user, NULL)"])
def test_a_missing_user_is_not_that_of_the_database(sql):
    assert select(batch(a=["x"]), sql)[1] == [None]
    assert select(batch(a=["x"]), "a", "user = 'duckdb'")[0] == []
    assert select(batch(user=["x"], current_user=["y"]), sql)[1][0] in ("x", "X", "y")
    assert columns_of(sql)[0].lower().endswith("user")


def test_a_missing_column_that_is_usual_is_not_told(caplog):
    with caplog.at_level(logging.INFO):
        selection = Selection({"out": "coalesce(history, conn_state) || local_orig"}, what="t", kind="flow")
        assert selection.select(HOSTS).columns["out"].to_pylist() == [None] * 3
        Selection({"out": "lower(id.resp_h)"}, what="t", kind="zeek.ssh").select(HOSTS)
    assert not caplog.records
    Selection({"out": "lower(historie)"}, what="t", kind="flow").select(HOSTS)
    assert "'historie'" in caplog.text


def test_columns_come_and_go_from_batch_to_batch():
    selection = Selection({"out": "bytes + 1"}, "id.orig_h = 'a'", what="t")
    assert selection.select(HOSTS).columns["out"].to_pylist() == [11, None]
    assert selection.select(HOSTS.drop_columns(["bytes"])).columns["out"].to_pylist() == [None, None]
    assert selection.select(HOSTS.drop_columns(["id.orig_h"])).rows.tolist() == []
    assert selection.select(HOSTS).columns["out"].to_pylist() == [11, None]


def test_the_schemas_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("tocsin.records.selection.PLANS", 2)
    selection = Selection({"out": "bytes + 1"}, what="t")
    for number in range(5):
        table = HOSTS.append_column(f"c{number}", pa.nulls(3))
        assert selection.select(table).columns["out"].to_pylist() == [11, 21, None]


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("lower(x", "syntax error"),
        ("", "is empty"),
        ("nosuch(x)", "nosuch does not exist"),
        ("count(*)", "cannot contain aggregates"),
        ("*", "one value of a record"),
        ("row_number() OVER ()", "cannot contain window functions"),
        ("unnest([1, 2])", "UNNEST"),
        ("x::nosuch", "nosuch does not exist"),
        ("1) FROM rows; SELECT (2", "more than one"),
    ],
)
def test_a_wrong_expression_stops_the_start(sql, complaint):
    with pytest.raises(SettingsError, match=r"summaries\.0\.host: ") as caught:
        Selection({"host": sql}, what="summaries.0")
    assert complaint in str(caught.value)
    with pytest.raises(SettingsError, match=r"summaries\.0\.where: "):
        Selection({}, sql or "lower(", what="summaries.0")


def test_rows_on_which_an_expression_fails_are_set_aside():
    table = batch(text=["1", "x", "3", "y"], keep=["yes", "true", "false", "true"])
    rows, values, failed = select(table, "CAST(text AS INTEGER)")
    assert (rows, values, list(failed)) == ([0, 2], [1, 3], [1, 3])
    assert "'x'" in failed[1]
    assert "'y'" in failed[3]
    rows, values, failed = select(table, "text", "keep::BOOLEAN AND text::INTEGER > 0")
    assert (rows, sorted(failed)) == ([0], [1, 3])


def test_a_row_that_is_not_wanted_cannot_fail():
    table = batch(text=["1", "x", "y"], keep=[True, False, True])
    assert select(table, "CAST(text AS INTEGER)", "keep") == ([0], [1], {2: select(table, "text::INT")[2][2]})


def test_reasons_beyond_the_first_are_not_looked_for_one_by_one(monkeypatch):
    monkeypatch.setattr(expressions, "EXPLAINED", 1)
    _, _, failed = select(batch(text=["x", "y", "1"]), "text::INT")
    assert list(failed) == [0, 1]
    assert "'x'" in failed[0]
    assert "Conversion Error" in failed[1]


def test_a_batch_whose_types_do_not_fit_is_set_aside(caplog):
    selection = Selection({"out": "list_sum(x)"}, what="t")
    assert selection.select(batch(x=[[1, 2]])).columns["out"].to_pylist() == [3]
    found = selection.select(batch(x=[5, 6]))
    assert (found.rows.tolist(), len(found.failed), found.columns["out"].to_pylist()) == ([], 2, [])
    assert "rows are set aside" in caplog.text
    everywhere = select(batch(x=[1, 2]), "x + 'a'")
    assert (everywhere[0], list(everywhere[2])) == ([], [0, 1])


def test_an_empty_batch():
    assert select(HOSTS.slice(0, 0), "bytes + 1", "id.orig_h = 'a'") == ([], [], {})
    assert select(HOSTS.slice(0, 0), "bytes") == ([], [], {})


def test_chunks_are_combined():
    table = pa.concat_tables([HOSTS, HOSTS])
    found = Selection({"host": "id.orig_h", "more": "bytes + 1"}, what="t").select(table)
    assert all(isinstance(column, pa.Array) for column in found.columns.values())
    assert found.columns["host"].to_pylist() == ["a", "b", "a"] * 2


numbers = st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=30)


@given(numbers, st.integers(-5, 5), st.integers(1, 7))
def test_like_plain_python_however_it_is_cut(values, least, size):
    table = pa.table({"x.y": pa.array(values, pa.int64())})
    selection = Selection({"twice": "x.y * 2", "plain": "x.y"}, f"x.y >= {least}", what="t")
    wanted = [(row, value) for row, value in enumerate(values) if value is not None and value >= least]
    found = selection.select(table)
    assert found.rows.tolist() == [row for row, _ in wanted]
    assert found.columns["twice"].to_pylist() == [value * 2 for _, value in wanted]
    parts = [selection.select(table.slice(start, size)) for start in range(0, len(values), size)]
    assert [value for part in parts for value in part.columns["plain"].to_pylist()] == [value for _, value in wanted]


@given(st.lists(st.sampled_from(["1", "2", "x", "", None]), max_size=20))
def test_just_the_rows_that_fail_are_set_aside(values):
    table = pa.table({"text": pa.array(values, pa.string())})
    rows, out, failed = select(table, "text::INTEGER + 0")
    assert sorted(failed) == [row for row, value in enumerate(values) if value in ("x", "")]
    assert rows == [row for row in range(len(values)) if row not in failed]
    assert out == [None if values[row] is None else int(values[row]) for row in rows]


def test_many_rows_keep_their_order():
    table = pa.table({"x": np.arange(300_000)})
    found = Selection({"out": "x + 1"}, "x % 3 = 0", what="t").select(table)
    assert np.array_equal(found.rows, np.arange(0, 300_000, 3))
    assert np.array_equal(found.columns["out"].to_numpy(), np.arange(1, 300_001, 3))


def test_an_expression_is_bound_to_a_schema():
    schema = pa.schema([("attempts", pa.float64()), ("host", pa.string())])
    assert bind("attempts >= 30", schema) == (pa.bool_(), [])
    assert bind("attempts + nosuch.x", schema) == (pa.float64(), ["nosuch.x"])
    with pytest.raises(SettingsError, match="Binder Error"):
        bind("list_sum(host)", schema)


def test_the_columns_that_an_expression_names():
    assert columns_of("lower(a) || id.orig_h || 'c' || list_transform(d, lambda e: e + f)[1]") == [
        "a",
        "id.orig_h",
        "d",
        "f",
    ]


def test_evaluate_gives_null_where_a_row_failed():
    values, failed = evaluate(batch(text=["1", "x"]), {"n": "text::INT", "t": "text"}, where="ingest.csv.a")
    assert values["n"].to_pylist() == [1, None]
    assert values["t"].to_pylist() == ["1", None]
    assert list(failed) == [1]
    with pytest.raises(InputError, match=r"ingest\.csv\.a\.n: 'nosuch'.*columns: text"):
        evaluate(batch(text=["1"]), {"n": "nosuch"}, where="ingest.csv.a")


def test_syntax_error_needs_no_table():
    assert syntax_error("a + b") is None
    assert "syntax error" in syntax_error("a +")
    assert syntax_error("1); SELECT (2") == "it is more than one expression"
