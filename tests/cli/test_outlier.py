"""`tocsin outlier` from a table on disk to scores with reasons."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli.outlier import outlier
from tocsin.settings import Settings


def table(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "bytes": rng.lognormal(5, 1, rows).round(2),
            "service": rng.choice(["http", "dns"], rows),
            "verdict": ["fine"] * (rows - 5) + ["bad"] * 5,
        }
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = App(Settings(store=str(tmp_path / "store")))

    def call(*arguments, fails=False):
        done = CliRunner().invoke(outlier, [str(one) for one in arguments], obj=app)
        if fails:
            assert done.exception is not None
            return done.exception
        assert done.exception is None, done.output
        return done.output

    return call


def test_fit_then_score_tells_scores_and_reasons(run, tmp_path):
    pc.write_csv(table(), tmp_path / "normal.csv")
    odd = pa.table({"bytes": [150.0, 9e9], "service": ["http", "gopher"]})
    pq.write_table(odd, tmp_path / "new.parquet")
    fitted = json.loads(run("fit", "normal.csv", "--model", "m", "--exclude", "verdict", "--json"))
    assert fitted["rows"] == 300
    assert [field["field"] for field in fitted["fields"]] == ["bytes", "service"]
    assert fitted["left_out"] == {"verdict": "excluded"}
    usual, unusual = json.loads(run("score", "new.parquet", "--model", "m", "--json"))
    assert usual["row"] == 0
    assert usual["score"] < unusual["score"] > 99
    assert {reason["field"] for reason in unusual["reasons"]} == {"bytes", "service"}
    assert {reason["seen"] for reason in unusual["reasons"]} == {9e9, "gopher"}
    assert all(reason["expected"] and reason["share"] > 0 for reason in unusual["reasons"])


def test_where_keeps_rows_and_top_orders_them(run, tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wb") as file:
        pc.write_csv(table(), file)
    assert "295" in run("fit", "t.csv.gz", "--model", "m", "--where", "verdict = 'fine'", "--algorithm", "iforest")
    told = json.loads(run("score", "t.csv.gz", "--model", "m", "--json", "--top", "4"))
    assert len(told) == 4
    assert [row["score"] for row in told] == sorted((row["score"] for row in told), reverse=True)
    assert "why" in run("score", "t.csv.gz", "--model", "m")


def test_scores_go_into_a_parquet_file(run, tmp_path):
    pc.write_csv(table(), tmp_path / "t.csv")
    run("fit", "t.csv", "--model", "m")
    run("score", "t.csv", "--model", "m", "--out", "scored.parquet")
    scored = pq.read_table(tmp_path / "scored.parquet")
    assert scored.num_rows == 300
    assert {"bytes", "score", "raw", "reason_1", "reason_1_expected", "reason_3_share"} <= set(scored.column_names)


def test_a_file_without_names_and_a_column_that_changes_its_type(run, tmp_path):
    lines = [f"{i % 7},{i % 3}" for i in range(100)] + ["1.5,tcp"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    fitted = json.loads(run("fit", "t.csv", "--model", "m", "--json"))
    assert [(field["field"], field["kind"]) for field in fitted["fields"]] == [("c1", "numeric"), ("c2", "category")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fit", "missing.csv", "--model", "m"), 3, "No such file"),
        (("fit", "empty.csv", "--model", "m"), 3, "empty"),
        (("fit", "t.csv", "--model", "m", "--exclude", "byte"), 3, "did you mean 'bytes'"),
        (("fit", "t.csv", "--model", "m", "--where", "colour = 1"), 2, "colour"),
        (("fit", "t.csv", "--model", "m", "--where", "bytes < 0"), 3, "none of"),
        (("score", "t.csv", "--model", "nothing"), 6, "outlier fit"),
        (("score", "t.csv", "--model", "t.csv"), 6, "no tocsin model"),
    ],
)
def test_what_is_wrong_is_one_clear_line(run, tmp_path, arguments, code, words):
    pc.write_csv(table(), tmp_path / "t.csv")
    (tmp_path / "empty.csv").write_text("")
    error = run(*arguments, fails=True)
    assert error.exit_code == code
    assert words in str(error)
    assert len(str(error).splitlines()) == 1
