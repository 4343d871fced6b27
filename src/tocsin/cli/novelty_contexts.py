"""`tocsin novelty list`, `show`, and what else is done with whole contexts."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.novelty_options import pattern_of
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.errors import InputError, ModelError, SettingsError, StoreError
from tocsin.records.finding import rfc3339

if TYPE_CHECKING:
    from tocsin.detectors.novelty.model import NoveltyModel
    from tocsin.jobs.context import ContextStatus

name_argument = click.argument("name", metavar="CONTEXT")
TOP = 10
_HISTOGRAM_STEPS = " ▁▂▃▄▅▆▇█"


@click.command("list")
@json_option
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List the contexts: what each has learned, and how much memory it takes.

    \b
    tocsin novelty list
    tocsin novelty list --json
    """
    with closing(app.contexts()) as contexts:
        found = [contexts.status(name) for name in contexts.names()]
    if as_json:
        print_json([_plain(each) for each in found])
        return
    if not found:
        click.echo("There are no contexts; `tocsin novelty observe` makes them.")
        return
    rows = [
        (each.name, each.observed, "yes" if each.warm else "no", each.entries, each.nbytes,
         ", ".join(each.fields) or f"{each.length} components", each.order,
         rfc3339(each.last_observed) if each.last_observed else "")
        for each in found
    ]  # fmt: skip
    columns = ("context", "learned", "warm", "entries", "bytes", "fields", "order", "last learned (UTC)")
    print_table("contexts", columns, rows)


@click.command()
@name_argument
@click.option("--most", type=click.IntRange(min=1), default=TOP, show_default=True, help="Values of each field.")
@json_option
@click.pass_obj
def show(app: App, name: str, most: int, as_json: bool) -> None:
    """Show a context: its options, the most frequent values of each field, how its own scores are spread, feedback.

    \b
    tocsin novelty show conns
    """
    with closing(app.contexts()) as contexts:
        status, model = contexts.status(name), contexts.model(name)
        facts = _facts(status, model, most)
    if as_json:
        print_json(facts)
        return
    warm = "warm" if status.warm else f"not warm before {status.options.warm_up:,}"
    counting = f" ({model.weight:,.0f} of them count)" if round(model.weight) != status.observed else ""
    click.echo(
        f"{name}: {status.observed:,} learned{counting}, {warm}, {status.entries:,} entries, {status.nbytes:,} bytes"
    )
    told = {key: value for key, value in facts["options"].items() if value not in (None, [], {}) and key != "fields"}
    click.echo("options: " + ", ".join(f"{key} {value}" for key, value in told.items()))
    for each in facts["top"]:
        values = ", ".join(f"{one['value']} ({one['count']:,.0f})" for one in each["values"])
        click.echo(f"{each['field']}: {values}")
    if sum(facts["histogram"]["counts"]):
        click.echo(f"scores from 0 to 1: |{_drawn(facts['histogram']['counts'])}|")
    if status.feedbacks:
        click.echo(f"feedback: {status.feedbacks}, see `tocsin novelty feedback list {name}`")


@click.command()
@name_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.pass_obj
def export(app: App, name: str, file: Path) -> None:
    """Write a context to one portable FILE, or with - to the standard output.

    \b
    tocsin novelty export conns conns.novelty
    """
    with closing(app.contexts()) as contexts:
        data = contexts.export(name)
    if str(file) == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        file.write_bytes(data)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}") from error
    click.echo(f"{name} is in {file}, {len(data):,} bytes", err=True)


@click.command("import")
@name_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--replace", is_flag=True, help="Also where there is a context of this name: it forgets what it learned.")
@click.pass_obj
def import_(app: App, name: str, file: Path, replace: bool) -> None:
    """Make a context of a FILE that `export` wrote, or with - of the standard input.

    \b
    tocsin novelty import conns conns.novelty
    """
    data = sys.stdin.buffer.read() if str(file) == "-" else _read(file)
    with closing(app.contexts()) as contexts:
        try:
            contexts.import_(name, data, replace=replace)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        contexts.commit()
        observed = contexts.status(name).observed
    click.echo(f"{name} has {observed:,} observations", err=True)


@click.command()
@name_argument
@click.argument("others", nargs=-1, required=True, metavar="OTHER…")
@click.pass_obj
def merge(app: App, name: str, others: tuple[str, ...]) -> None:
    """Add to a context what others have learned: contexts, or files that `export` wrote. Those stay as they are.

    \b
    tocsin novelty merge all berlin lisbon
    tocsin novelty merge conns site2.novelty
    """
    with closing(app.contexts()) as contexts:
        names = contexts.names()
        if name in others:
            raise InputError(f"{name!r} cannot be merged with itself")
        models = {other: contexts.model(other) if other in names else _loaded(Path(other)) for other in others}
        joined = _joined(models)  # first, so that all are merged or none
        if name not in names:
            contexts.create(name, joined.options)
        fields = contexts.model(name).fields
        contexts.merge(name, joined)
        contexts.commit()
        observed = contexts.status(name).observed
    for other, model in models.items():
        if fields and model.fields and model.fields != fields:
            differ = f"{', '.join(model.fields)} in {other}, {', '.join(fields)} in {name}"
            click.echo(f"warning: the fields have other names: {differ}; they were taken by their order", err=True)
    click.echo(f"{name} has {observed:,} observations", err=True)


def _loaded(file: Path) -> "NoveltyModel":
    from tocsin.detectors.novelty.portable import load

    try:
        return load(_read(file))
    except ModelError as error:
        raise InputError(f"{file}: {error}") from error


def _joined(models: "dict[str, NoveltyModel]") -> "NoveltyModel":
    """Return a context that knows what all of these do. Raises InputError, naming the one that does not fit."""
    from tocsin.detectors.novelty.model import NoveltyModel

    joined = NoveltyModel(next(iter(models.values())).options)
    for other, model in models.items():
        try:
            joined.merge(model)
        except InputError as error:
            raise InputError(f"{other}: {error}") from error
    return joined


@click.command()
@name_argument
@click.argument("parts", nargs=-1, required=True, metavar="FIELD=VALUE…")
@json_option
@click.pass_obj
def forget(app: App, name: str, parts: tuple[str, ...], as_json: bool) -> None:
    """Forget the observations that have these values; what is not named may be anything.

    FIELD is a field's name, or its number from 0. LOW..HIGH is a range, both ends included; either may be left out.

    \b
    tocsin novelty forget logins user=mallory
    tocsin novelty forget conns proto=udp id.resp_p=49152..65535
    """
    with closing(app.contexts()) as contexts:
        model = contexts.model(name)
        gone = contexts.forget(name, pattern_of(parts, model.fields, model.length))
        contexts.commit()
    if as_json:
        print_json({"context": name, "forgotten": gone})
        return
    click.echo(f"{gone:,} observations are forgotten")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="CONTEXT…")
@click.pass_obj
def delete(app: App, names: tuple[str, ...]) -> None:
    """Delete contexts, with all that they learned.

    \b
    tocsin novelty delete conns
    """
    with closing(app.contexts()) as contexts:
        for name in names:
            contexts.status(name)  # all that are named are there, or none is deleted
        for name in dict.fromkeys(names):
            contexts.delete(name)
        contexts.commit()
    click.echo(f"deleted: {', '.join(names)}", err=True)


@click.command()
@click.argument("names", nargs=-1, metavar="[CONTEXT]…")
@click.option("--all", "everything", is_flag=True, help="Every context.")
@click.pass_obj
def reset(app: App, names: tuple[str, ...], everything: bool) -> None:
    """Let contexts forget all they learned, feedback too; names and options stay.

    \b
    tocsin novelty reset conns
    tocsin novelty reset --all
    """
    if bool(names) == everything:
        raise SettingsError("name the contexts that forget, or give --all")
    with closing(app.contexts()) as contexts:
        names = names or tuple(contexts.names())
        for name in names:
            contexts.status(name)
        for name in names:
            contexts.reset(name)
        contexts.commit()
    click.echo(f"reset: {', '.join(names) or 'nothing, there are no contexts'}", err=True)


COMMANDS = (list_, show, export, import_, merge, forget, delete, reset)


def _plain(status: "ContextStatus") -> dict[str, Any]:
    """Return a status as JSON values."""
    values = {**vars(status), "fields": list(status.fields), "options": status.options.as_dict()}
    times = {name: values[name] for name in ("created", "last_observed")}
    return values | {name: rfc3339(time) if time else None for name, time in times.items()}


def _facts(status: "ContextStatus", model: "NoveltyModel", most: int) -> dict[str, Any]:
    edges, counts = model.histogram()
    names = model.fields or [f"[{index}]" for index in range(model.length)]
    top = [
        {"field": name, "values": [{"value": value, "count": count} for value, count in model.top(index, most)]}
        for index, name in enumerate(names)
    ]
    histogram = {"edges": edges.tolist(), "counts": counts.tolist()}
    return {**_plain(status), "top": top, "histogram": histogram}


def _drawn(counts: list[int]) -> str:
    """Draw counts as bars; what is there at all can be seen."""
    most = max(counts)
    return "".join(_HISTOGRAM_STEPS[-(-8 * count // most)] for count in counts)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: is no context and no file that can be read ({error.strerror})") from error
