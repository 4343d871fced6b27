"""The settings file as text: an entry is added, and all else stays."""

import pytest
import yaml

from tocsin.settings_file import to_yaml, with_entry

ENTRY = {"preset": "b"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "s:\n  - preset: b\n"),
        ("# nothing yet", "# nothing yet\ns:\n  - preset: b\n"),
        ("a: 1", "a: 1\ns:\n  - preset: b\n"),
        ("a: |\n  text\n", "a: |\n  text\ns:\n  - preset: b\n"),
        ("s:\n", "s:\n  - preset: b\n"),
        ("s:", "s:\n  - preset: b\n"),
        ("s: # some\na: 1\n", "s: # some\n  - preset: b\na: 1\n"),
        ("s: []\na: 1\n", "s: [{preset: b}]\na: 1\n"),
        ("s: [{preset: a}]\n", "s: [{preset: b}, {preset: a}]\n"),
        ("s:\n- preset: a\n", "s:\n- preset: b\n- preset: a\n"),
        ("s:\n    # ours\n    - preset: a\na: 1\n", "s:\n    - preset: b\n    # ours\n    - preset: a\na: 1\n"),
        ("s:\n  - preset: b\n", "s:\n  - preset: b\n  - preset: b\n"),
    ],
)
def test_an_entry_is_added(text, wanted):
    assert with_entry(text, "s", ENTRY) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1}\n",
        "- a\n",
        "s: 5\n",
        "s: {a: 1}\n",
        "s: &x\n  - preset: a\n---\nb: 1\n",
        "a: 1\n...\n",
        "a: [\n",
        "s: text\n",
    ],
)
def test_what_is_not_safe_is_refused(text):
    assert with_entry(text, "s", ENTRY) is None


def test_what_is_written_is_read_again():
    values = {"b": ["ä", 1], "a": {"where": "x = 'y'"}}
    assert to_yaml(values).startswith("b:\n")
    assert yaml.safe_load(to_yaml(values)) == values
