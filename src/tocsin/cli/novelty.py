"""`tocsin novelty`: how unusual combinations of values are, and why, over any records."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.novelty_contexts import COMMANDS
from tocsin.cli.novelty_feedback import feedback
from tocsin.cli.novelty_options import (
    CREATING,
    READING,
    asked_options,
    context_option,
    context_options,
    options,
    split_fields,
)
from tocsin.cli.novelty_run import Reader, run
from tocsin.cli.output import json_option
from tocsin.errors import NotFoundError, SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.detectors.novelty.model import NoveltyModel
    from tocsin.detectors.novelty.scores import Scores


@click.group()
def novelty() -> None:
    """Learn which values go together, and say how unusual each further record is, and why.

    A context is what was learned under a name, kept in the folder `novelty` of the store (beside S3: of
    ./tocsin-data); the first use makes it. FILE is a CSV of any columns, JSON lines, Parquet, a Zeek log, EVE, a
    capture, or - for the standard input; without FILE the lake's flows are read.

    \b
    tocsin novelty observe conn.log --fields proto,service,conn_state --context conns
    tocsin novelty score today.csv --fields user,host,action --context logins --least 0.99
    tocsin novelty list
    """


for _command in (*COMMANDS, feedback):
    novelty.add_command(_command)


@novelty.command()
@options(READING)
@context_option
@options(CREATING)
@json_option
@click.pass_obj
def observe(app: App, /, paths: tuple[str, ...], context: str | None, as_json: bool, **given: Any) -> None:
    """Learn records, in their order, and score each as it is learned.

    The options from --order on are for a context that is not there yet. With --json a result a line, in order; else
    the most novel (20, or --most).

    \b
    tocsin novelty observe conn.log --fields proto,service,conn_state,id.resp_p --context conns
    tocsin novelty observe logins.csv --fields "user,host,hour(time)" --where "ok" --context logins --order auto
    zcat eve.json.gz | tocsin novelty observe - --kind eve.dns --fields src_ip,dns.rrtype --context dns --json
    tocsin novelty observe --since 7d --fields saddr,proto,dport --context flows --half-life 30d

    Ends with 3 when a file cannot be used; the others are read all the same.
    """
    if context is None:
        raise SettingsError("--context: must say which context learns; any name, such as --context conns")
    from tocsin.jobs.context import check_name

    with closing(app.contexts()) as contexts:
        known = contexts.model(context) if context in contexts.names() else None
        fields = _fields(context, known, given)
        if known is not None and (asked := asked_options(given)):
            raise SettingsError(
                f"{asked[0]}: context {context!r} is there already and keeps its options; name another context"
            )
        new = context_options(fields, given)
        check_name(context)

        def learn(columns: "list[pa.Array]") -> "Scores":
            if context not in contexts.names():
                contexts.create(context, new)  # now that there is something to learn
            scores = contexts.observe(context, columns)
            contexts.commit()  # before anything is said of them
            return scores

        reader = Reader(app, paths, fields, given)
        run(reader, learn, lambda: contexts.model(context), as_json=as_json)
    reader.end()


@novelty.command()
@options(READING)
@context_option
@click.option("--fresh", is_flag=True, help="No context: learn while scoring, from nothing, and keep nothing.")
@options(CREATING)
@json_option
@click.pass_obj
def score(app: App, /, paths: tuple[str, ...], context: str | None, fresh: bool, as_json: bool, **given: Any) -> None:
    """Score records by what a context has learned, and learn nothing; the same call gives the same scores.

    With --fresh records are scored as they would be learned by a new context, which is not kept: the options from
    --order on are for that. With --json a result a line, in order; else the most novel (20, or --most).

    \b
    tocsin novelty score today.log --context conns
    tocsin novelty score today.log --context conns --json --least 0.999
    tocsin novelty score table.parquet --fields a,b,c --fresh --order auto

    Ends with 3 when a file cannot be used; the others are read all the same.
    """
    if fresh == (context is not None):
        raise SettingsError(
            "give either --context NAME, to score by what was learned, or --fresh, to learn from nothing"
        )
    if not fresh and (asked := asked_options(given)):
        raise SettingsError(f"{asked[0]}: is for a new context: --fresh, or `tocsin novelty observe`")
    if context is None:
        _score_fresh(app, paths, given, as_json=as_json)
        return
    with closing(app.contexts()) as contexts:
        if context not in contexts.names():
            raise NotFoundError(
                f"there is no context {context!r}; learn one with `tocsin novelty observe FILE --context {context}`, "
                "or score from nothing with --fresh"
            )
        model = contexts.model(context)
        reader = Reader(app, paths, _fields(context, model, given), given)
        run(reader, lambda columns: contexts.read(context, columns), lambda: model, as_json=as_json)
    reader.end()


def _score_fresh(app: App, paths: tuple[str, ...], given: dict[str, Any], *, as_json: bool) -> None:
    from tocsin.detectors.novelty.model import NoveltyModel

    fields = _fields("", None, given)
    model = NoveltyModel(context_options(fields, given))
    reader = Reader(app, paths, fields, given)
    run(reader, model.observe, lambda: model, as_json=as_json)
    reader.end()


def _fields(name: str, known: "NoveltyModel | None", given: dict[str, Any]) -> tuple[str, ...]:
    """Return the SQL of the fields, those of the context where none are given. Raises SettingsError."""
    fields = split_fields(given["fields"], given["expressions"])
    learned = known.fields if known else ()
    if not (fields or learned):
        raise SettingsError("--fields: must say what is learned: columns, or SQL, such as proto,service,conn_state")
    if fields and learned and fields != learned:
        raise SettingsError(
            f"--fields: context {name!r} has learned {','.join(learned)}; leave --fields out, or name a new one"
        )
    if fields and known and known.length and known.length != len(fields):
        raise SettingsError(f"--fields: context {name!r} has {known.length} components, not {len(fields)}")
    return fields or learned
