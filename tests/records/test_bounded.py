"""SQL of strangers: what it may ask for, and that it is broken off."""

import time

import pyarrow as pa
import pytest

from tocsin.errors import InputError
from tocsin.records.bounded import beyond, within
from tocsin.records.selection import Selection

ONE = pa.table({"a": [1]})
ENDLESS = "a + (SELECT count(*) FROM range(1000000000000) t(b) WHERE b % 7 = 3)"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("(SELECT count(*) FROM rows)", "SELECT"),
        ("a + (SELECT 1)", "SELECT"),
        ("exists(FROM rows)", "SELECT"),
        ("a IN (SELECT 1)", "SELECT"),
        ("(WITH t AS (SELECT 1) FROM t)", "SELECT"),
        ("COLUMNS('.*')", "columns"),
        ("pg_sleep(1)", "pg_sleep"),
        ("SLEEP_MS(1)", "sleep_ms"),
        ("random()", "random"),
        ("length(repeat('x', 9))", "repeat"),
        ("list_sum(range(9))", "range"),
        ("lpad(a, 2000000000, a)", "lpad"),
        ("[1].list_transform(lambda x: x + random())", "random"),
    ],
)
def test_what_looks_beyond_its_record_is_named(sql, words):
    assert words in beyond(sql)


@pytest.mark.parametrize(
    "sql",
    ["a", "id.orig_h", '"id.orig_h"', "a // 1000", "lower(a) || 'x'", "CASE WHEN a > 1 THEN 1 END", "a::INT", "(("],
)
def test_what_looks_at_its_record_alone_may_pass(sql):
    assert beyond(sql) is None


def test_what_takes_too_long_is_broken_off_and_the_next_is_not():
    heavy = Selection({"x": ENDLESS}, what="test")
    began = time.monotonic()
    with pytest.raises(InputError, match=r"longer than 0\.2 seconds"), within(0.2):
        heavy.select(ONE)
    assert time.monotonic() - began < 20
    assert Selection({"x": "a + 1"}, what="test").select(ONE).columns["x"].to_pylist() == [2]


def test_what_is_told_to_stop_is_broken_off():
    with pytest.raises(InputError), within(600, lambda: True):
        Selection({"x": ENDLESS}, what="test").select(ONE)
