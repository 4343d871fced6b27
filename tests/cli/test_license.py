"""`tocsin license`."""

import json
import tomllib
from email.message import Message
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.cli.license import licence_of

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def output(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["license", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_declared_dependency_is_named_with_a_licence():
    document = json.loads(output("--json"))
    assert (document["name"], document["licence"]) == ("tocsin", "Apache-2.0")
    named = {row["name"].lower().replace("_", "-"): row for row in document["dependencies"]}
    declared = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    for requirement in declared:
        name = requirement.partition(">")[0].partition("[")[0].lower()
        assert named[name]["version"]
        assert named[name]["licence"] != "not stated"
    assert "psycopg-binary" in named, "what an extra asks for counts too"
    assert "pytest" not in named


def test_none_of_them_is_gpl():
    licences = {row["name"]: row["licence"] for row in json.loads(output("--json"))["dependencies"]}
    strong = [
        name
        for name, licence in licences.items()
        if "GPL" in licence and "LGPL" not in licence and "Lesser" not in licence
    ]
    assert strong == []


def test_the_table_and_the_whole_text():
    assert "runtime dependencies" in output()
    assert "Apache License" in output("--text")


class FakeDistribution:
    def __init__(self, **metadata: str) -> None:
        self.metadata = Message()
        for name, value in metadata.items():
            self.metadata[name.replace("_", "-")] = value


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"License_Expression": "MIT", "License": "long text"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, "BSD License"),
        ({"License": "The Licence\nof many lines"}, "The Licence"),
        ({}, "not stated"),
    ],
    ids=["expression", "classifier", "field", "nothing"],
)
def test_the_licence_is_read_from_where_it_stands(metadata, expected):
    assert licence_of(FakeDistribution(**metadata)) == expected
