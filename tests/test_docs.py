"""The documents speak of commands, options, settings, metrics, columns and headings that exist."""

import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest
import yaml

from tocsin.cli import COMMANDS, cli
from tocsin.detectors.novelty.definition import build as build_novelty
from tocsin.detectors.summary.accumulator import REDUCERS
from tocsin.detectors.summary.build import build
from tocsin.detectors.summary.presets import PRESETS
from tocsin.records.flow import FLOW
from tocsin.settings import Settings
from tocsin.settings_keys import describe
from tocsin.settings_novelty import NoveltySettings
from tocsin.settings_summaries import SummarySettings

PROJECT = Path(__file__).parents[1]
PAGES = [path for path in (*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md")) if path.name != "CHANGELOG.md"]
KEYS = {key.name for key in describe(Settings)}
SECTIONS = {name.partition(".")[0] for name in KEYS if "." in name}
BLOCK = re.compile(r"(?:^ {4}.*\n(?:\n(?= {4}))?)+", re.MULTILINE)


def strangers(text: str) -> list[str]:
    """Return the commands and settings that a text names and that do not exist."""
    commands = set(re.findall(r"(?:^ {4}|`)tocsin (?:-\S+ (?:\S+\.yaml )?)*([a-z][a-z0-9-]+)", text, re.MULTILINE))
    keys = {
        key
        for key in re.findall(r"`([a-z0-9_]+(?:\[\])?\.[a-z0-9_]+)(?:: [^`]*)?`", text)
        if re.match(r"[a-z0-9_]+", key).group() in SECTIONS and not key.endswith((".py", ".md", ".yaml", ".lock"))
    }
    return sorted((commands - COMMANDS.keys()) | (keys - KEYS))


def wrong_calls(text: str) -> list[str]:
    """Return the calls of tocsin on lines of their own whose verb or one of whose options does not exist."""
    calls = re.findall(r"^ {4,7}(?:/opt/tocsin/bin/)?(tocsin [a-z-].*)$", text, re.MULTILINE)
    return [call for call in calls if not is_call(shlex.split(call.partition("  #")[0])[1:])]


def is_call(words: list[str]) -> bool:
    """Follow the words of a call down the groups, and look each option up in the command that they lead to."""
    command: click.Command | None = cli
    context = click.Context(cli)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        command = command.get_command(context, words.pop(0))
        if command is None:
            return False
    known = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    return {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)} <= known | {"-v", "-vv", "-c"}


def slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_what_exists(path):
    assert strangers(path.read_text()) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_calls_on_a_page_can_be_made(path):
    assert wrong_calls(path.read_text()) == []


def test_a_planted_fault_is_seen():
    text = "`tocsin -c x.yaml -vv atuo`\n\n    tocsin smaple\n\n`sampling.percent: 5`, `sampling.sample_percent`"
    assert strangers(text) == ["atuo", "sampling.percent", "smaple"]
    assert wrong_calls("    tocsin hosts --day 1\n    tocsin findings lst\n    tocsin findings list --json\n") == [
        "tocsin hosts --day 1",
        "tocsin findings lst",
    ]


def test_a_link_between_pages_leads_somewhere():
    for path in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
            there = path.parent / target if target else path
            assert there.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in slugs(there.read_text()), f"{path.name}: {target}#{anchor}"


def test_examples_of_settings_are_good():
    seen = 0
    for path in PAGES:
        for block in map(textwrap.dedent, BLOCK.findall(path.read_text())):
            if block.partition(":")[0] in Settings.model_fields:
                settings = Settings(**yaml.safe_load(block))
                build(settings.summaries)
                build_novelty(settings.novelty)
                seen += 1
    assert seen >= 12


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of a table's rows, below a heading of a page, without the head."""
    text = (PROJECT / "docs" / page).read_text().partition(f"\n{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table.splitlines()[2:]]


def named(cells: list[str]) -> list[str]:
    return re.findall(r"`([a-z_]+)`", cells[0])


def test_every_key_of_a_summary_is_told():
    told = [name for cells in rows("summaries.md", "## One in full") for name in named(cells)]
    assert sorted(told) == sorted(SummarySettings.model_fields)


def test_every_key_of_a_novelty_detector_is_told():
    told = [name for cells in rows("novelty.md", "## In the settings") for name in named(cells)]
    assert sorted(told) == sorted(NoveltySettings.model_fields)


def test_every_reducer_is_told_with_its_options():
    told = {name: cells for cells in rows("summaries.md", "## Reducers") for name in named(cells)}
    assert told.keys() == REDUCERS.keys()
    for name, (_, options) in REDUCERS.items():
        written = [f"`{option}`: {value}" if value != "" else f"`{option}`" for option, value in options.items()]
        assert told[name][2] == ", ".join(written), name


def test_every_preset_is_told_as_it_tells_itself():
    told = {name.strip("`"): (finds, needs) for name, finds, needs in rows("summaries.md", "## Those that come along")}
    assert told == {name: (preset.help, preset.needs) for name, preset in PRESETS.items()}


def test_the_flow_record_is_told_whole():
    page = (PROJECT / "docs" / "formats.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", page.partition("## The flow record")[2], re.MULTILINE)
    names = {"string": "text", "timestamp[us, tz=UTC]": "time"}
    assert [(name, kind, unit.strip()) for name, kind, unit in told] == [
        (name, names.get(str(column.type), str(column.type)), column.unit) for name, column in FLOW.items()
    ]


@pytest.mark.parametrize("page", ["troubleshooting.md", "operations.md"])
def test_the_metrics_that_are_told_are_served(page):
    served = (PROJECT / "src" / "tocsin" / "serve" / "metrics.py").read_text()
    told = set(re.findall(r"`(tocsin_[a-z_]+?)(?:_total)?[`{]", (PROJECT / "docs" / page).read_text()))
    assert told
    assert [name for name in sorted(told) if f'"{name}"' not in served] == []
    if page == "operations.md":
        assert set(re.findall(r'"(tocsin_[a-z_]+)"', served)) <= told


@pytest.mark.parametrize("page", ["summaries"])
def test_python_on_a_page_runs(page):
    for code in re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / f"{page}.md").read_text(), re.DOTALL):
        exec(compile(code, f"{page}.md", "exec"), {})
