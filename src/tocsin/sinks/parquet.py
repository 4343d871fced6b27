"""Findings and results as Parquet: one file a delivery."""

import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.errors import SinkError
from tocsin.records.finding import Finding
from tocsin.sink import Sink

_TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("domain", pa.string()),
        ("detector", pa.string()),
        ("kind", pa.string()),
        ("entity", pa.string()),
        ("start", _TIME),
        ("end", _TIME),
        ("raw", pa.float64()),
        ("score", pa.float64()),
        ("severity", pa.string()),
        ("title", pa.string()),
        (
            "reasons",
            pa.list_(
                pa.struct(
                    [
                        ("field", pa.string()),
                        ("seen", pa.string()),
                        ("expected", pa.string()),
                        ("share", pa.float64()),
                    ]
                )
            ),
        ),
        ("records", pa.string()),
        ("record_count", pa.int64()),
        ("scope", pa.string()),
        ("about", pa.string()),
        ("model", pa.string()),
        ("state", pa.string()),
        ("count", pa.int64()),
        ("suppressed_by", pa.string()),
        ("created", _TIME),
        ("updated", _TIME),
        ("format", pa.int32()),
    ]
)
"""Columns of a findings file; `records` and `scope` are JSON text, as their columns differ between findings."""


class ParquetSink(Sink):
    """Writes one Parquet file a delivery into a folder; the same findings again replace the same file.

    An epoch's results are one file, `results-<summary>-<start>.parquet`, with the types that the reducers have; the
    same epoch again replaces it.
    """

    name: ClassVar[str] = "parquet"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """Return the folder."""
        return f"parquet {self._folder}"

    def send(self, findings: list[Finding]) -> None:
        """Write the findings as one file, whole or not at all. Raises SinkError."""
        if not findings:
            return
        ids = "\n".join(sorted(finding.id for finding in findings))
        name = f"findings-{hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()}.parquet"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_parquet(findings, self._folder / name)
        except OSError as error:
            raise SinkError(f"cannot write findings to {self._folder}: {error.strerror or error}") from error

    def send_results(self, results: pa.Table) -> None:
        """Write an epoch's results as one file, whole or not at all. Raises SinkError."""
        if not results.num_rows:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(results, self._folder / _results_name(results))
        except OSError as error:
            raise SinkError(f"cannot write results to {self._folder}: {error.strerror or error}") from error

    def close(self) -> None:
        """Do nothing: no file is held open between sends."""


def write_parquet(findings: list[Finding], path: Path) -> None:
    """Write findings to a Parquet file under a temporary name, then rename it. Raises OSError."""
    write_whole(findings_table(findings), path)


def write_whole(table: pa.Table, path: Path) -> None:
    """Write a table to a Parquet file under a temporary name, then rename it. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(table, temporary, compression="zstd")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def findings_table(findings: list[Finding]) -> pa.Table:
    """Return findings as an Arrow table of SCHEMA, a row each."""
    return pa.Table.from_pylist([_row(finding) for finding in findings], schema=SCHEMA)


def _row(finding: Finding) -> dict[str, Any]:
    plain = finding.to_dict()
    texts = {key: json.dumps(plain[key], ensure_ascii=False, default=str) for key in ("records", "scope")}
    return asdict(finding) | texts


def _results_name(results: pa.Table) -> str:
    summary, start = (results.column(name)[0].as_py() for name in ("summary", "start"))
    name = re.sub(r"[^A-Za-z0-9._-]", "_", summary)
    return f"results-{name}-{start:%Y%m%dT%H%M%S.%fZ}.parquet"
