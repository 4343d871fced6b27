"""Status: what the pipeline has done, and when it runs next."""

from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table


@click.command()
@json_option
@click.pass_obj
def status(app: App, as_json: bool) -> None:
    """Show the lake's days, samples and scores, the models served, each job's last result and its next run.

    \b
    tocsin status
    tocsin status --json
    """
    from tocsin.jobs.status import status as collect

    state = collect(app.work(), app.home)
    if as_json:
        print_json(state)
        return
    lake = state["lake"]
    span = f"{lake['days']} days of flows ({lake['first']} to {lake['last']})"
    click.echo(f"store {state['store']} · domain {state['domain']} · {span}")
    click.echo(f"sampled {state['sampled_days']} days · scored up to {state['last_scored'] or 'nothing yet'}")
    served = ", ".join(f"{name} {version}" for name, version in state["models"].items())
    click.echo(f"models served: {served or 'none yet; `tocsin auto` makes them'}")
    print_table(
        "jobs",
        ["job", "part", "outcome", "ended", "what it did"],
        [
            (job["name"], job["piece"], job["outcome"], job["ended"] or "", job["note"] or counted(job["counts"]))
            for job in state["jobs"]
        ],
    )
    rows = [
        (name, each["name"], each["counts"].get("records", 0), each["keys"], each["nbytes"], each["windows"],
         ", ".join(f"{n:,} {what}" for what, n in each["counts"].items() if n and what != "records"))
        for name, watch in state["watches"].items()
        for each in watch["summaries"]
    ]  # fmt: skip
    if rows:
        print_table(
            "summaries", ("watch", "summary", "records", "keys", "bytes", "epochs open", "of the records"), rows
        )
    learned = [
        (name, each["name"], each["observed"], each["entries"], each["nbytes"],
         ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in each["counts"].items() if n and what != "records"))
        for name, watch in state["watches"].items()
        for each in watch.get("novelty", ())
    ]  # fmt: skip
    if learned:
        print_table("novelty", ("watch", "detector", "learned", "entries", "bytes", "of the records"), learned)
    print_table("next runs of a daemon (UTC)", ["job", "at"], [(job["name"], job["next"]) for job in state["next"]])
    if state["claims"]:
        print_table(
            "claims", ["piece", "owner", "expires"], [(c["piece"], c["owner"], c["expires"]) for c in state["claims"]]
        )


def counted(counts: dict[str, Any]) -> str:
    """Return what a job counted as words."""
    return ", ".join(f"{n:,} {name}" if isinstance(n, int) else f"{n} {name}" for name, n in counts.items())
