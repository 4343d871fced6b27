"""Findings and results as JSON lines: one object a line, appended to a file."""

import json
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tocsin.records.finding import Finding
from tocsin.records.result import CHUNK, plain_results
from tocsin.sink import Sink
from tocsin.sinks.append import append_durably


class JsonLinesSink(Sink):
    """Appends each finding or result as one line of JSON (UTF-8) and waits until the disk has them."""

    name: ClassVar[str] = "jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        """Return the file."""
        return f"jsonl {self._path}"

    def send(self, findings: list[Finding]) -> None:
        """Append the findings. Raises SinkError when the file cannot be written."""
        if findings:
            append_durably(self._path, json_lines(findings))

    def send_results(self, results: pa.Table) -> None:
        """Append the results. Raises SinkError when the file cannot be written."""
        for at in range(0, results.num_rows, CHUNK):
            append_durably(self._path, result_lines(results.slice(at, CHUNK)))

    def close(self) -> None:
        """Do nothing: no file is held open between sends."""


def json_lines(findings: list[Finding]) -> str:
    """Write findings as JSON, one object a line."""
    return "".join(json.dumps(finding.to_dict(), ensure_ascii=False, default=str) + "\n" for finding in findings)


def result_lines(results: pa.Table) -> str:
    """Write results as JSON, one object a line."""
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in plain_results(results))
