"""The command line. One file a command group, imported when it is run."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import rich_click as click

from tocsin import __version__
from tocsin.errors import TocsinError

COMMANDS: dict[str, tuple[str, str, str]] = {
    # name: (module:attribute, help panel, one line)
    "demo": ("tocsin.cli.demo:demo", "Start", "Generate a week with attacks, run everything, show what was found."),
    "ingest": ("tocsin.cli.ingest:ingest", "Start", "Read logs and captures into the lake."),
    "generate": ("tocsin.cli.generate:generate", "Start", "Write labelled traffic for trying things out."),
    "auto": ("tocsin.cli.pipeline:auto", "Start", "Run the whole pipeline once."),
    "run": ("tocsin.cli.run:run", "Start", "Run as a daemon, on schedule."),
    "serve": ("tocsin.cli.serve:serve", "Start", "Serve the REST API, its documentation and a page."),
    "watch": ("tocsin.cli.watch:watch", "Start", "Count what hosts do as it happens, and print findings at once."),
    "sample": ("tocsin.cli.pipeline:sample", "Pipeline", "Sample days of the lake as baseline."),
    "extract": ("tocsin.cli.pipeline:extract", "Pipeline", "Build normalisation tables from the samples."),
    "rank": ("tocsin.cli.pipeline:rank", "Pipeline", "Rank fields by what they tell."),
    "train": ("tocsin.cli.pipeline:train", "Pipeline", "Train a model for each protocol."),
    "score": ("tocsin.cli.pipeline:score", "Pipeline", "Score flows and raise findings."),
    "backtest": ("tocsin.cli.backtest:backtest", "Pipeline", "Count what hosts did, over files or the lake."),
    "fingerprint": ("tocsin.cli.fingerprint:fingerprint", "Pipeline", "Learn and judge TLS and TCP fingerprints."),
    "outlier": ("tocsin.cli.outlier:outlier", "Detectors", "Fit and score any table, outside the lake."),
    "summaries": ("tocsin.cli.summaries:summaries", "Detectors", "List, explain and switch on what is counted a key."),
    "novelty": ("tocsin.cli.novelty:novelty", "Detectors", "Say how unusual combinations of values are, and why."),
    "findings": ("tocsin.cli.findings:findings", "Results", "List, show, label and export findings."),
    "hosts": ("tocsin.cli.hosts:hosts", "Results", "Rank hosts by how anomalous they are, with why."),
    "suppress": ("tocsin.cli.suppress:suppress", "Results", "Hide what is known, with owner, reason and expiry."),
    "models": ("tocsin.cli.models:models", "Results", "List, show and roll back models."),
    "status": ("tocsin.cli.status:status", "Operate", "Next runs, last results, state of every job."),
    "keys": ("tocsin.cli.keys:keys", "Operate", "Make, list and revoke API keys of the service."),
    "config": ("tocsin.cli.config:config", "Operate", "Show the settings, where each comes from, and their schema."),
    "validate": ("tocsin.cli.config:validate", "Operate", "Check the settings, without network."),
    "test-s3": ("tocsin.cli.store:test_s3", "Operate", "Check that the store can be used."),
    "license": ("tocsin.cli.license:license_", "Operate", "Print the licences of tocsin and its dependencies."),
}


LISTING = "tocsin.listing"
"""Set while nothing but the list of commands is wanted."""


class LazyGroup(click.RichGroup):
    """A group that imports a command's file when the command is run or its own help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; for the group's own help a stand-in with its one line is enough."""
        if cmd_name not in COMMANDS:
            return None
        target, _, line = COMMANDS[cmd_name]
        if ctx.meta.get(LISTING):
            return click.Command(cmd_name, short_help=line, help=line)
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return _with_verbosity(command)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing any of them."""
        ctx.meta[LISTING] = True
        try:
            super().format_help(ctx, formatter)
        finally:
            del ctx.meta[LISTING]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and end with one line and an exit code where tocsin itself knows what is wrong."""
        try:
            return super().main(*args, **kwargs)
        except TocsinError as error:
            click.echo(f"tocsin: {error}", err=True)
            sys.exit(error.exit_code)


def _with_verbosity(command: click.Command) -> click.Command:
    """Let -v stand after the verb too, and after the verbs of a group."""
    if not any(option.name == "verbose_after" for option in command.params):
        command.params.append(
            click.Option(
                ["-v", "--verbose", "verbose_after"],
                count=True,
                expose_value=False,
                callback=_more_verbose,
                help="Tell more.",
            )
        )
    for inner in getattr(command, "commands", {}).values():
        _with_verbosity(inner)
    return command


def _more_verbose(ctx: click.Context, option: click.Parameter, value: int) -> None:
    root = ctx.find_root()
    if value and root.obj is not None:
        from tocsin.cli.logs import set_up_logs

        root.meta["tocsin.verbose"] = root.meta.get("tocsin.verbose", 0) + value
        set_up_logs(root.obj.settings.logging, root.meta["tocsin.verbose"])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path), help="Settings file (YAML).", metavar="FILE"
)
@click.option("-v", "--verbose", count=True, help="Tell more: debug; twice for trace.")
@click.version_option(__version__, prog_name="tocsin")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None, verbose: int) -> None:
    """Watch network telemetry, learn what is normal, and ring, with an explanation, when something is not.

    Without a settings file everything is kept in ./tocsin-data.

    \b
    tocsin ingest /var/log/zeek/conn.*.log.gz
    tocsin auto
    tocsin hosts
    tocsin findings list

    Exit codes: 0 done, 1 a job failed, 2 settings or command line, 3 input, 4 store, 5 ledger, 6 model, 7 sink.
    """
    from tocsin.app import App
    from tocsin.cli.logs import set_up_logs
    from tocsin.settings import load_settings

    settings = load_settings(config_path)
    set_up_logs(settings.logging, verbose)
    ctx.meta["tocsin.verbose"] = verbose
    ctx.meta["tocsin.config_path"] = config_path
    app = App(settings)
    ctx.obj = app
    ctx.call_on_close(app.close)


def main() -> None:
    """Run the command line."""
    cli()
