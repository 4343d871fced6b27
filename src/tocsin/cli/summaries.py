"""`tocsin summaries`: what is counted a key, what comes along, and switching it on."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.cli.summaries_live import next_epoch, value
from tocsin.errors import SettingsError
from tocsin.settings import DEFAULT_FILES, find_settings_file, origin
from tocsin.settings_file import to_yaml, with_entry
from tocsin.settings_summaries import SummarySettings

if TYPE_CHECKING:
    from tocsin.detectors.summary.definition import Summary


@click.group()
def summaries() -> None:
    """Count what each key does, and ring when it is too much.

    \b
    tocsin summaries list
    tocsin summaries explain ssh-guessing
    tocsin summaries enable ssh-guessing address-scan
    """


summaries.add_command(value)
summaries.add_command(next_epoch)


@summaries.command("list")
@json_option
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List the summaries of the settings, and those that come along.

    \b
    tocsin summaries list
    """
    rows = [*_configured(app), *_shipped(app)]
    if as_json:
        print_json(rows)
        return
    names = ("name", "state", "input", "key", "threshold", "epoch")
    cells = [[", ".join(row[name]) if isinstance(row[name], list) else row[name] for name in names] for row in rows]
    print_table("summaries", names, cells)


@summaries.command()
@click.argument("name")
@json_option
@click.pass_obj
def explain(app: App, name: str, as_json: bool) -> None:
    """Say what a summary counts, when it rings, how early, and what it costs.

    \b
    tocsin summaries explain ssh-guessing
    """
    from tocsin.detectors.summary.build import summary
    from tocsin.detectors.summary.explain import bytes_a_key, early
    from tocsin.detectors.summary.explain import explain as told

    entry, state, what = _named(app, name)
    built = summary(entry, what)
    preset = _preset(entry.preset)
    written = to_yaml({"summaries": [_written(entry)]})
    if as_json:
        facts = {
            **_row(entry, state, built),
            "early": built.condition is not None and built.condition.growing is not None,
        }
        facts |= {"told": early(built), "bytes_a_key": bytes_a_key(built), "needs": preset.needs if preset else ""}
        print_json({**facts, "severity": list(built.severities), "explained": told(built), "yaml": written})
        return
    click.echo(f"{built.name}: {preset.help if preset else 'a summary of the settings'} [{state}]")
    about = {"needs": [preset.needs]} if preset else {}
    for heading, lines in {**about, **told(built)}.items():
        click.echo(f"\n{heading.capitalize()}")
        click.echo("\n".join(f"  {line}" for line in lines))
    click.echo(f"\nAs settings\n\n{_indented(written)}")


@summaries.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@json_option
@click.pass_context
def enable(ctx: click.Context, names: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Switch on summaries that come along: add `- preset: NAME` to the settings file, made when there is none.

    \b
    tocsin summaries enable ssh-guessing address-scan
    tocsin summaries enable beaconing --dry-run
    """
    app = ctx.find_object(App)
    assert app is not None
    file = find_settings_file(ctx.find_root().meta.get("tocsin.config_path"))
    path = file.path or Path(DEFAULT_FILES[0])
    if (place := origin("summaries", file)).startswith("environment"):
        raise SettingsError(f"{place}: sets the summaries, and goes before {path}; add the presets there")
    before = text = path.read_text(encoding="utf-8") if file.path else ""
    wanted = [name for name in dict.fromkeys(names) if not _is_on(app, name)]
    for name in reversed(wanted):  # each goes to the top of the list
        text = _added(text, name, path)
    if text != before and not dry_run:
        _write(path, text)
    if as_json:
        print_json(
            {"file": str(path), "enabled": wanted, "on_before": sorted(set(names) - set(wanted)), "dry_run": dry_run}
        )
        return
    if dry_run:
        for line in difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), str(path), lineterm=""):
            click.echo(line)
        return
    for name in dict.fromkeys(names):
        click.echo(f"{name} is on{f', in {path}' if name in wanted else ' already'}.")


def _configured(app: App) -> Iterator[dict[str, Any]]:
    from tocsin.detectors.summary.build import resolve

    for at, entry in enumerate(app.settings.summaries):
        yield _row(resolve(entry, f"summaries.{at}"), "on" if entry.enabled else "off")


def _shipped(app: App) -> Iterator[dict[str, Any]]:
    from tocsin.detectors.summary.build import resolve
    from tocsin.detectors.summary.presets import PRESETS

    there = {entry.preset for entry in app.settings.summaries} | {entry.name for entry in app.settings.summaries}
    for name in PRESETS:
        if name not in there:
            yield _row(resolve(SummarySettings(preset=name)), "comes along")


def _row(entry: SummarySettings, state: str, built: "Summary | None" = None) -> dict[str, Any]:
    streams = entry.inputs or [entry]
    threshold = entry.threshold
    levels = ", ".join(f"{level:,.15g}" for level in threshold.at)
    epoch = "" if entry.epoch is None else str(entry.epoch.written())
    return {
        "name": entry.name,
        "state": state,
        "input": list(dict.fromkeys(each.input for each in streams)),
        "key": list(built.key_parts if built else streams[0].key),
        "threshold": f"{threshold.of}: {levels}" if threshold.of else threshold.sql,
        "epoch": epoch if entry.every is None else f"{epoch} every {entry.every.written()}",
    }


def _written(entry: SummarySettings) -> dict[str, Any]:
    """Return a summary's keys as a person writes them, those that have their defaults left out."""
    keys = entry.model_dump(mode="json", exclude_unset=True, exclude={"preset"})
    if "sql" in keys.get("threshold", {}):
        keys["threshold"] = keys["threshold"]["sql"]
    if len(keys.get("severity", ())) == 1:
        keys["severity"] = keys["severity"][0]
    return {"name": entry.name} | keys


def _named(app: App, name: str) -> tuple[SummarySettings, str, str]:
    """Return a summary's settings, its state, and its place. Raises SettingsError."""
    from tocsin.detectors.summary.build import resolve
    from tocsin.detectors.summary.presets import PRESETS

    known = list(PRESETS)
    for at, entry in enumerate(app.settings.summaries):
        whole = resolve(entry, f"summaries.{at}")
        if whole.name == name:
            return whole, "on" if entry.enabled else "off", f"summaries.{at}"
        known.append(whole.name)
    if name not in PRESETS:
        raise SettingsError(_unknown(name, known))
    return resolve(SummarySettings(preset=name)), "comes along", name


def _preset(name: str) -> Any:
    from tocsin.detectors.summary.presets import PRESETS

    return PRESETS.get(name)


def _is_on(app: App, name: str) -> bool:
    """Tell whether a preset is in the settings. Raises SettingsError when it is none, is off, or its name is taken."""
    from tocsin.detectors.summary.presets import PRESETS

    if name not in PRESETS:
        raise SettingsError(_unknown(name, list(PRESETS)))
    for at, entry in enumerate(app.settings.summaries):
        if name in (entry.preset, entry.name):
            if not entry.enabled:
                raise SettingsError(f"summaries.{at}: {name} is there but switched off; take its `enabled: false` out")
            if entry.preset != name:
                raise SettingsError(
                    f"summaries.{at}.name: another summary is called {name}; give it another name first"
                )
            return True
    return False


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no summary {name!r}; " + (f"did you mean {near[0]!r}?" if near else "`tocsin summaries list`")


def _added(text: str, name: str, path: Path) -> str:
    added = with_entry(text, "summaries", {"preset": name})
    if added is None:
        raise SettingsError(f"{path}: cannot be added to safely; write `- preset: {name}` below `summaries:` yourself")
    return added


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n")
