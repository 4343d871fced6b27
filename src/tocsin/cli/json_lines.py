"""Many rows as JSON lines, fast."""

from collections.abc import Iterable
from typing import Any

import orjson
import rich_click as click


def write_json_lines(rows: Iterable[Any]) -> None:
    """Write a JSON document a line to the standard output, all at once."""
    lines = b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])
    if lines:
        click.echo(lines, nl=False)
