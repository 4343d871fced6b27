"""The documents speak of commands, settings and metrics that exist."""

import re
from pathlib import Path

import pytest

from tocsin.cli import COMMANDS
from tocsin.settings import Settings
from tocsin.settings_keys import describe

PROJECT = Path(__file__).parents[1]
PAGES = [path for path in (*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")) if path.name != "CHANGELOG.md"]
KEYS = {key.name for key in describe(Settings)}
SECTIONS = {name.partition(".")[0] for name in KEYS if "." in name}


def strangers(text: str) -> list[str]:
    """Return the commands and settings that a text names and that do not exist."""
    commands = set(re.findall(r"(?:^ {4}|`)tocsin (?:-\S+ (?:\S+\.yaml )?)*([a-z][a-z0-9-]+)", text, re.MULTILINE))
    keys = {
        key
        for key in re.findall(r"`([a-z0-9_]+(?:\[\])?\.[a-z0-9_]+)(?:: [^`]*)?`", text)
        if re.match(r"[a-z0-9_]+", key).group() in SECTIONS and not key.endswith((".py", ".md", ".yaml", ".lock"))
    }
    return sorted((commands - COMMANDS.keys()) | (keys - KEYS))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_what_exists(path):
    assert strangers(path.read_text()) == []


def test_a_planted_fault_is_seen():
    text = "`tocsin -c x.yaml -vv atuo`\n\n    tocsin smaple\n\n`sampling.percent: 5`, `sampling.sample_percent`"
    assert strangers(text) == ["atuo", "sampling.percent", "smaple"]


def test_a_link_between_pages_leads_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_metrics_that_are_watched_are_served():
    served = (PROJECT / "src" / "tocsin" / "serve" / "metrics.py").read_text()
    watched = set(
        re.findall(r"`(tocsin_[a-z_]+?)(?:_total)?[`{]", (PROJECT / "docs" / "troubleshooting.md").read_text())
    )
    assert watched
    assert [name for name in sorted(watched) if f'"{name}"' not in served] == []
