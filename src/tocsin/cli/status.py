"""Status: what the pipeline has done, and when it runs next."""

import random
from typing import Any

import rich_click as click

from tocsin.app import App
from tocsin.cli.output import json_option, print_json, print_table
from tocsin.records.finding import rfc3339


@click.command()
@json_option
@click.pass_obj
def status(app: App, as_json: bool) -> None:
    """Show the lake's days, samples and scores, the models served, each job's last result and its next run.

    \b
    tocsin status
    tocsin status --json
    """
    state = collect(app)
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
    print_table("next runs of a daemon (UTC)", ["job", "at"], [(job["name"], job["next"]) for job in state["next"]])
    if state["claims"]:
        print_table(
            "claims", ["piece", "owner", "expires"], [(c["piece"], c["owner"], c["expires"]) for c in state["claims"]]
        )


def collect(app: App) -> dict[str, Any]:
    """Gather what `status` shows, as plain values."""
    from tocsin.app_watch import watches
    from tocsin.jobs.claims import claims
    from tocsin.jobs.lake import lake_days
    from tocsin.jobs.sample import sampled
    from tocsin.jobs.score import scored_state
    from tocsin.lifecycle.registry import Registry

    work = app.work()
    days = list(lake_days(app.store, app.domain))
    registry = Registry(app.store, app.domain)
    served = {name: registry.production(name) for name in registry.names()}
    held = [claim for claim in claims(app.store, f"{app.domain}/claims/", clock=app.clock) if claim.held]
    return {
        "store": app.store.url(""),
        "domain": app.domain,
        "lake": {"days": len(days), "first": str(days[0]) if days else None, "last": str(days[-1]) if days else None},
        "sampled_days": len(sampled(app.store, app.domain)),
        "last_scored": scored_state(work).get("last_scored"),
        "models": {name: version.name for name, version in served.items() if version},
        "jobs": [_job(job) for job in app.ledger.last_jobs(app.domain)],
        "next": _next(app),
        "watches": watches(app),
        "claims": [
            {
                "piece": claim.path.rsplit("/", 1)[-1].removesuffix(".json"),
                "owner": claim.owner,
                "expires": rfc3339(claim.expires),
            }
            for claim in held
        ],
    }


def _job(job: Any) -> dict[str, Any]:
    ended = rfc3339(job.finished) if job.finished else None
    return {
        "name": job.name, "piece": job.piece, "outcome": job.outcome, "started": rfc3339(job.started), "ended": ended,
        "note": job.note, "counts": job.counts,
    }  # fmt: skip


def counted(counts: dict[str, Any]) -> str:
    """Return what a job counted as words."""
    return ", ".join(f"{n:,} {name}" if isinstance(n, int) else f"{n} {name}" for name, n in counts.items())


def _next(app: App) -> list[dict[str, str]]:
    from tocsin.jobs.schedule import plan

    rows = []
    for daily, minute in zip(
        plan(app.settings, random.Random(0)),
        (app.settings.sampling.sample_minute, app.settings.training.train_minute),
        strict=True,
    ):
        at = rfc3339(daily.next_after(app.clock.now()))
        rows.append(
            {
                "name": daily.name,
                "next": at if minute is not None else f"{at[:14]}xx (minute drawn when the daemon starts)",
            }
        )
    return rows
