"""`tocsin novelty feedback`: telling a context what is normal, and taking it back."""

from contextlib import closing

import rich_click as click

from tocsin.app import App
from tocsin.cli.novelty_options import pattern_of
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.errors import SettingsError
from tocsin.records.finding import rfc3339
from tocsin.records.times import from_us


@click.group()
def feedback() -> None:
    """Say that a kind of observation is normal: it scores lower from then on, until that is undone.

    \b
    tocsin novelty feedback add logins user=backup action=sudo --note "nightly job"
    tocsin novelty feedback list logins
    tocsin novelty feedback undo logins 3f6c
    """


@feedback.command()
@click.argument("name", metavar="CONTEXT")
@click.argument("parts", nargs=-1, required=True, metavar="FIELD=VALUE…")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="The part of the surprise that is taken away.",
)
@click.option("--by", default="", help="Who says so.")
@click.option("--note", default="", help="Why.")
@json_option
@click.pass_obj
def add(app: App, name: str, parts: tuple[str, ...], strength: float, by: str, note: str, as_json: bool) -> None:
    """Say that observations with these values are normal; what is not named may be anything.

    \b
    tocsin novelty feedback add conns proto=icmp
    """
    with closing(app.contexts()) as contexts:
        model = contexts.model(name)
        pattern = pattern_of(parts, model.fields, model.length)
        values = [part for part in pattern if part is None or isinstance(part, str)]
        if len(values) < len(pattern):
            raise SettingsError("feedback is about single values; a range can only be forgotten")
        said = contexts.feedback(name, values, strength, by=by, note=note)
        contexts.commit()
    if as_json:
        print_json(said.as_dict())
        return
    click.echo(f"{said.id[:8]}: {_words(said.pattern, model.fields)} is normal; undo it by this id")


@feedback.command("list")
@click.argument("name", metavar="CONTEXT")
@json_option
@click.pass_obj
def list_(app: App, name: str, as_json: bool) -> None:
    """List what a context was told.

    \b
    tocsin novelty feedback list conns
    """
    with closing(app.contexts()) as contexts:
        model = contexts.model(name)
        found = list(model.feedbacks.values())
    if as_json:
        print_json([each.as_dict() for each in found])
        return
    rows = [
        (
            each.id[:8],
            _words(each.pattern, model.fields),
            each.strength,
            rfc3339(from_us(each.at_us)),
            each.by,
            each.note,
        )
        for each in found
    ]
    print_table("feedback", ("id", "what is normal", "strength", "said (UTC)", "by", "note"), rows)


@feedback.command()
@click.argument("name", metavar="CONTEXT")
@click.argument("feedback_id", metavar="ID")
@click.pass_obj
def undo(app: App, name: str, feedback_id: str) -> None:
    """Take a feedback back; the beginning of its id will do.

    \b
    tocsin novelty feedback undo conns 3f6c
    """
    with closing(app.contexts()) as contexts:
        known = [each for each in contexts.model(name).feedbacks if each.startswith(feedback_id)]
        if len(known) != 1:
            said = (
                "no feedback begins so" if not known else "several begin so: " + ", ".join(each[:8] for each in known)
            )
            raise SettingsError(f"{feedback_id}: {said}; `tocsin novelty feedback list {name}`")
        contexts.undo(name, known[0])
        contexts.commit()
    click.echo(f"{known[0][:8]} is undone", err=True)


def _words(pattern: tuple[str | None, ...], fields: tuple[str, ...]) -> str:
    names = fields or tuple(str(index) for index in range(len(pattern)))
    return ", ".join(f"{name}={part}" for name, part in zip(names, pattern, strict=True) if part is not None)
