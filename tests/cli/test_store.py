"""tocsin test-s3."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOCSIN_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


def test_a_folder_is_checked(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["test-s3", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["kind"] == "folder"
    assert [item["name"] for item in report["capabilities"]][-3:] == ["create-only", "if-match", "delete"]
    assert list(folder.glob("tocsin-probe/*")) == []


def test_a_bucket_is_checked(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"TOCSIN_S3__BUCKET": "flows", "TOCSIN_S3__ENDPOINT": s3_server}
    for name, value in {**values, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, ["test-s3"])
    assert done.exit_code == 0, done.output
    assert "s3://flows/" in done.output
    assert "The store can be used." in done.output


def test_a_store_that_cannot_be_used_is_one_line(folder: Path) -> None:
    folder.write_text("a file")
    done = CliRunner().invoke(cli, ["test-s3"])
    assert done.exit_code == 4
    assert done.stderr.startswith("tocsin: cannot write")
    assert "move it away" in done.stderr
    assert len(done.stderr.splitlines()) == 1
