"""`tocsin config` and `tocsin validate`: the settings, where each comes from, and what is wrong with them."""

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.errors import SettingsError
from tocsin.records.finding import SEVERITIES
from tocsin.settings import ENV_PREFIX, Settings, find_settings_file, origin, read_secret, variable
from tocsin.settings_file import SettingsFile
from tocsin.settings_keys import Key, describe, nearest
from tocsin.settings_serve import check_safe

MASK = "********"
COLUMN_NAME = re.compile(r"[\w .:-]+")
HEAD = f"""\
# Settings

One YAML file: `tocsin -c FILE`, else `./tocsin.yaml`, else `/etc/tocsin/tocsin.yaml`, else the defaults below.
Any key can be set by the environment, which goes before the file: `{variable("sampling.sample_percent")}=20`;
lists and maps are JSON there. Relative paths count from the folder the command is run in, `~` is the home folder.
`tocsin config show` says where each value comes from, `tocsin validate` checks them without any network.
This page is made by `make docs`."""
NOT_SETTINGS = ("TOCSIN_DATA", "TOCSIN_TEST_")


@click.group()
def config() -> None:
    """Show the settings, where each comes from, and their schema.

    \b
    tocsin config show
    tocsin -c /etc/tocsin/tocsin.yaml config show --json
    tocsin config schema
    """


@config.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Print every key, its value and where that comes from; secrets are masked.

    \b
    tocsin config show
    TOCSIN_SAMPLING__SAMPLE_PERCENT=20 tocsin config show --json
    """
    file = find_settings_file(ctx.find_root().meta.get("tocsin.config_path"))
    app = ctx.find_object(App)
    assert app is not None
    rows = [(key, value, origin(key, file)) for key, value in flatten(app.settings)]
    if as_json:
        print_json([{"key": key, "value": value, "origin": place} for key, value, place in rows])
        return
    title = f"settings of {file.path}" if file.path else "settings (there is no file)"
    print_table(title, ["key", "value", "from"], [(key, _text(value), place) for key, value, place in rows])


@config.command()
@json_option
@click.option("--markdown", is_flag=True, help="Print the reference page of the documentation.")
def schema(as_json: bool, markdown: bool) -> None:
    """Print every key there is: type, default, bounds, unit, help.

    \b
    tocsin config schema
    tocsin config schema --json > tocsin.schema.json   (a JSON Schema, for editors)
    """
    if as_json:
        document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
        print_json(document)
    elif markdown:
        click.echo("\n".join(_markdown()))
    else:
        rows = ((k.name, k.type, _default(k), k.bounds, k.unit, k.help) for k in describe(Settings))
        print_table("settings", ["key", "type", "default", "bounds", "unit", "help"], rows)


@click.command()
@json_option
@click.pass_context
def validate(ctx: click.Context, as_json: bool) -> None:
    """Check the settings without any network: the file, every key, the files they name.

    The exit code is 2 when something is wrong; everything that is wrong is listed.

    \b
    tocsin -c tocsin.yaml validate
    tocsin -c tocsin.yaml validate --json
    """
    app = ctx.find_object(App)
    assert app is not None
    file = find_settings_file(ctx.find_root().meta.get("tocsin.config_path"))
    problems = list(find_problems(app.settings, file))
    notes = list(find_notes(app.settings, os.environ))
    if as_json:
        place = str(file.path) if file.path else None
        print_json({"ok": not problems, "file": place, "problems": problems, "notes": notes})
        ctx.exit(SettingsError.exit_code if problems else 0)
    for note in notes:
        click.echo(f"note: {note}")
    if problems:
        raise SettingsError("\n".join(problems))
    click.echo(f"{file.path or 'no settings file; the defaults'}: good")


def flatten(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Yield every key, dotted, with its value as JSON has it; secrets, and passwords in addresses, masked."""
    yield from _flatten(settings.model_dump(mode="json"), "")


def _flatten(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = prefix + name
        if isinstance(value, dict) and key not in ("ingest.csv", "ingest.rename", "serve.oidc.scopes"):
            yield from _flatten(value, f"{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                yield from _flatten(item, f"{key}.{index}.")
        else:
            yield key, _masked(value)


def _masked(value: Any) -> Any:
    """Pydantic masks what is declared a secret; a password inside an address is one too."""
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{MASK}@{host}")) if at and ":" in user else value


def find_problems(settings: Settings, file: SettingsFile) -> Iterator[str]:
    """Yield what a start would fail on although every key is valid: unreadable files, missing folders."""
    for key, value in _given(settings):
        place = f"{origin(key, file)}: {key}"
        name = key.rpartition(".")[2]
        if name == "reputation_file" and not value.is_file():
            yield f"{place}: there is no file {value}"
        elif name == "temp_dir" and not value.is_dir():
            yield f"{place}: there is no folder {value}"
        elif name == "file" and not _writable(value):
            yield f"{place}: {value} cannot be written; its folder must exist and be writable"
        elif name.endswith("_file") and name != "reputation_file":
            yield from _unreadable(value, place)
    remote = settings.store.startswith("s3://") or settings.s3.bucket
    if not remote and not _writable(Path(settings.store)):
        yield f"{origin('store', file)}: store: {settings.store} cannot be made or written"
    try:
        check_safe(settings.serve)
    except SettingsError as error:
        yield f"{origin('serve.host', file)}: {error}"
    yield from _detector_problems(settings, file)


def _detector_problems(settings: Settings, file: SettingsFile) -> Iterator[str]:
    """Yield what is wrong with summaries and novelty detectors: names, reducers, SQL, windows, titles, options."""
    if not (settings.summaries or settings.novelty):
        return
    from tocsin.detectors.novelty.definition import build as build_novelty
    from tocsin.detectors.summary.build import build

    checks: tuple[Callable[[], object], ...] = (
        lambda: build(settings.summaries),
        lambda: build_novelty(settings.novelty),
    )
    for check in checks:
        try:
            check()
        except SettingsError as error:
            for problem in str(error).splitlines():
                yield f"{origin(problem.partition(':')[0], file)}: {problem}"


def _given(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield the paths that are set, with their keys."""

    def walk(model: Any, prefix: str) -> Iterator[tuple[str, Path]]:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, Path):
                yield prefix + name, value
            elif hasattr(type(value), "model_fields"):
                yield from walk(value, f"{prefix}{name}.")
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if hasattr(type(item), "model_fields"):
                        yield from walk(item, f"{prefix}{name}.{index}.")

    yield from walk(settings, "")


def _unreadable(path: Path, place: str) -> Iterator[str]:
    try:
        if not read_secret(None, path, place):
            yield f"{place}: {path} is empty"
    except SettingsError as error:
        yield str(error)


def _writable(path: Path) -> bool:
    """Say whether something could be written at this path, without writing."""
    while not path.exists() and path != path.parent:
        path = path.parent
        if path.exists() and not path.is_dir():
            return False
    return os.access(path, os.W_OK)


def find_notes(settings: Settings, environ: Iterable[str]) -> Iterator[str]:
    """Yield what is allowed but hardly meant."""
    if settings.features.sample_days > settings.sampling.retention_days:
        yield (
            f"features.sample_days is {settings.features.sample_days}, but samples are kept for "
            f"sampling.retention_days = {settings.sampling.retention_days} days"
        )
    if settings.metrics.enabled and settings.metrics.host not in ("127.0.0.1", "::1", "localhost"):
        yield f"metrics.host is {settings.metrics.host}: the metrics can be read without a password from the network"
    if settings.training.algorithm == "hybrid" and settings.scoring.reputation_file is None:
        yield "training.algorithm is hybrid without scoring.reputation_file: it works on fingerprints alone"
    yield from _ingest_notes(settings)
    yield from _summary_notes(settings)
    yield from _novelty_notes(settings)
    known = {variable(key.name) for key in describe(Settings) if "[]" not in key.name}
    known |= {variable(name) for name in Settings.model_fields}
    for name in sorted(environ):
        upper = name.upper()
        if upper.startswith(ENV_PREFIX) and upper not in known and not upper.startswith(NOT_SETTINGS):
            near = nearest(Settings, tuple(upper.removeprefix(ENV_PREFIX).lower().split("__")))
            yield f"environment {name} is no setting" + (f"; did you mean {variable(near)}?" if near else "")


def _summary_notes(settings: Settings) -> Iterator[str]:
    """Yield summaries whose findings nobody will see, and columns that may be misspelt."""
    if not settings.summaries:
        return
    from tocsin.detectors.summary.build import build, doubts

    least = settings.verdict.min_severity
    with suppress(SettingsError):
        for summary in build(settings.summaries):
            unkept = [each for each in summary.severities if SEVERITIES.index(each) < SEVERITIES.index(least)]
            if unkept and summary.condition is not None:
                yield (
                    f"summary {summary.name}: findings of severity {unkept[0]} are not kept, "
                    f"as verdict.min_severity is {least}"
                )
            for name, near in doubts(summary):
                yield f"summary {summary.name}: {name!r} is no usual column of its records; did you mean {near!r}?"


def _novelty_notes(settings: Settings) -> Iterator[str]:
    """Yield novelty detectors that tell what is not kept, and columns that may be misspelt."""
    if not settings.novelty:
        return
    from tocsin.detectors.novelty.definition import build, doubts
    from tocsin.verdict.severity import Cutoffs, at_least

    least = settings.verdict.min_severity
    with suppress(SettingsError):
        for its in build(settings.novelty):
            lowest = Cutoffs.of(settings.verdict).severity(100 * its.threshold)
            if not at_least(lowest, least):
                yield (
                    f"novelty {its.name}: findings from threshold {its.threshold} on can be of severity {lowest} and "
                    f"are not kept then, as verdict.min_severity is {least}"
                )
            for name, near in doubts(its):
                yield f"novelty {its.name}: {name!r} is no usual column of its records; did you mean {near!r}?"


def _ingest_notes(settings: Settings) -> Iterator[str]:
    """Yield doubts about column maps. What is no SQL may still be the name of a column, `Flow Bytes/s`."""
    maps = {f"ingest.csv.{name}": columns for name, columns in settings.ingest.csv.items()}
    renamed = {ours: theirs for theirs, ours in settings.ingest.rename.items()}
    if not maps and not renamed:
        return
    from tocsin.records.expressions import syntax_error
    from tocsin.records.flow import FLOW

    for key, columns in [*maps.items(), ("ingest.rename", renamed)]:
        for ours, theirs in columns.items():
            if ours not in FLOW:
                near = difflib.get_close_matches(ours, FLOW, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield f"{key}: {ours!r} is no column of a flow and is kept as it is{hint}"
            if columns is not renamed and not COLUMN_NAME.fullmatch(theirs) and (error := syntax_error(theirs)):
                yield f"{key}.{ours}: {theirs!r} is no SQL and good only as the name of a column ({error})"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _default(key: Key) -> str:
    if key.type in ("text", "list of text", "list of sections") and not key.default:
        return '""' if key.type == "text" else "[]"
    return "" if key.default is None else _text(key.default)


def _markdown() -> Iterator[str]:
    yield HEAD
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    groups: dict[str, list[Key]] = {}
    for key in describe(Settings):
        groups.setdefault(key.name.rpartition(".")[0].replace("[]", ""), []).append(key)
    for name, keys in groups.items():
        yield f"\n## {name or 'At the top'}\n"
        documented = getattr(sections.get(name), "__doc__", None)
        if documented and hasattr(sections[name], "model_fields"):
            yield documented.strip() + "\n"
        yield "| key | type | default | bounds | unit | what it is |"
        yield "|---|---|---|---|---|---|"
        for key in keys:
            cells = (f"`{key.name}`", key.type, f"`{_default(key)}`", key.bounds, key.unit, key.help)
            yield "| " + " | ".join(cell.replace("|", "\\|").replace("``", "") for cell in cells) + " |"
