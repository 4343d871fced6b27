"""How commands print: tables for people, JSON for programs, progress on standard error."""

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print one JSON document, a line when it is not for a terminal."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=str, ensure_ascii=False))


def print_json_lines(values: Iterable[Any]) -> None:
    """Print a JSON document a line."""
    for value in values:
        click.echo(json.dumps(value, default=str, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned right, and text is printed as it is, without markup or control characters."""
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False).print(table)


def printable(text: str) -> str:
    """Return text without control characters: what comes out of traffic must not steer a terminal."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def _cell(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else printable(str(cell))


@contextmanager
def progress(*, quiet: bool = False) -> "Iterator[Progress]":
    """Show progress bars on standard error while the block runs; nothing when quiet or not on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )
    with bars:
        yield bars


def show_score(score: float) -> str:
    """Write a score so that what is not 100 does not look like it."""
    return f"{math.floor(score * 10_000) / 10_000:.4f}".rstrip("0").rstrip(".")
