import json

import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

from tocsin.cli import cli

FEW = ("--flows-per-day", "300", "--hosts", "30", "--start", "2024-03-04")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        return CliRunner().invoke(cli, ["generate", *arguments])

    return invoke


def test_a_lake_is_written_and_written_again_the_same(run, tmp_path):
    result = run(*FEW, "--days", "2", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    root = tmp_path / "tocsin-data" / "default" / "v2"
    files = sorted(path.relative_to(root) for path in root.rglob("*.parquet"))
    assert [str(path) for path in files] == [
        f"year=2024/month=03/day=0{day}/part-generated-0-00000.parquet" for day in (4, 5)
    ]
    assert ds.dataset(root).count_rows() == sum(day["flows"] for day in told["days"])
    assert {attack["kind"] for attack in told["attacks"]} >= {"scan", "beacon"}
    before = [(root / path).read_bytes() for path in files]
    (root / files[0].parent / "part-generated-9-00007.parquet").write_bytes(b"left by another run")
    assert run(*FEW, "--days", "2").exit_code == 0
    assert [path.read_bytes() for path in sorted(root.rglob("*.parquet"))] == before


def test_files_are_written_where_told(run, tmp_path):
    assert run(*FEW, "--days", "1", "--out", "there", "--attacks", "none").exit_code == 0
    assert run(*FEW, "--days", "1", "--out", "there", "--as", "zeek").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "conn.2024-03-04.log",
        "flows.2024-03-04.00000.parquet",
    ]
    labels = ds.dataset(tmp_path / "there" / "flows.2024-03-04.00000.parquet").to_table(["label"])["label"].unique()
    assert labels.to_pylist() == ["benign"]
    assert not (tmp_path / "tocsin-data" / "default").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--attacks", "sacn"), 2, "unknown attack 'sacn'"),
        (("--as", "zeek"), 2, "--as zeek needs --out"),
        (("--days", "0"), 2, "--days"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(run, arguments, code, said):
    result = run(*FEW, *arguments)
    assert result.exit_code == code
    assert said in result.output


def test_a_folder_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(*FEW, "--days", "1", "--out", "file/below")
    assert result.exit_code == 3
    assert "file/below" in result.output
