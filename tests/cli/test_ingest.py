import json

import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.testing.logs import zeek_log


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOCSIN_STORE", str(tmp_path / "store"))
    return lambda *arguments: CliRunner().invoke(cli, ["ingest", *map(str, arguments)])


def test_tells_what_came_and_what_to_run_next(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3) + "broken\n")
    result = run("conn.log")
    assert result.exit_code == 0, result.output
    assert "3 flows came into the lake, 1 rows were set aside" in result.output
    assert "Next: tocsin auto" in result.output
    assert "rejected" in result.output


def test_as_json(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3))
    document = json.loads(run("conn.log", "--json").stdout)
    assert (document["rows"], document["days"], document["files"][0]["status"]) == (3, ["2018-12-21"], "new")


def test_an_unusable_file_ends_with_3_and_the_others_are_read(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3))
    (tmp_path / "prose.log").write_text("Lorem ipsum\n")
    result = run("prose.log", "conn.log")
    assert result.exit_code == 3
    assert "3 flows" in result.output
    assert "prose.log: is no log that is known" in result.output


def test_a_folder_that_holds_the_store_is_not_read_in_circles(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3))
    assert json.loads(run(".", "--json").stdout)["rows"] == 3
    again = json.loads(run(".", "--json").stdout)
    assert (again["rows"], len(again["files"])) == (0, 1)


def test_an_unknown_format_is_told(run, tmp_path):
    (tmp_path / "conn.log").write_text(zeek_log(3))
    result = run("conn.log", "--format", "zek")
    assert result.exit_code == 3
    assert "choose from zeek" in result.output
