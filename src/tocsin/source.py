"""The source contract: a file of a foreign format becomes batches of canonical records.

A source is pure reading: it knows nothing of the store, of what was read before, or of other files.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tocsin.errors import InputError

SOURCES = {
    "zeek": "tocsin.sources.zeek:ZeekSource",
    "eve": "tocsin.sources.eve:EveSource",
    "argus": "tocsin.sources.argus:ArgusSource",
    "parquet": "tocsin.sources.parquet:ParquetSource",
    "csv": "tocsin.sources.csv:CsvSource",
    "pcap": "tocsin.sources.pcap:PcapSource",
    "ndjson": "tocsin.sources.ndjson:NdjsonSource",
}
"""In the order in which an unknown file is shown to them."""


@dataclass(frozen=True)
class Rejected:
    """A row set aside: its line (or row) number in the file, 1-based, why, and the beginning of its text."""

    line: int
    reason: str
    text: str


@dataclass
class Batch:
    """A piece of a file: canonical records, the rows set aside, and where to resume.

    table: records of `kind`, canonical columns first, unknown ones kept.
    position: an opaque resume token (plain JSON values): reading again from it gives what follows this batch.
    warnings: what a person should know of this piece (a truncated archive, a changed header).
    """

    kind: str
    table: pa.Table
    position: dict[str, Any]
    rejected: list[Rejected] = field(default_factory=list)
    rejected_count: int = 0
    skipped: int = 0
    """Records of other kinds in the same file (Suricata's alerts among its flows)."""
    lines: np.ndarray | None = None
    """The line of each record in the file, (n,) int64, 1-based, where the format has lines."""
    warnings: list[str] = field(default_factory=list)


class Source(ABC):
    """Reads files of one format."""

    name: ClassVar[str]
    appendable: ClassVar[bool]
    """Whether such a file may grow at its end and be read on from a position."""

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """Say whether a file beginning with these (decompressed) bytes is of this format."""

    def kind(self, head: bytes, path: Path) -> str:
        """Return which records a file of this format holds: `flow`, or `zeek.http` and the like (`read` refuses)."""
        return "flow"

    def earliest(self, path: Path, head: bytes) -> int | None:
        """Return the time of the first records, microseconds since 1970, where it is cheaply known.

        Nothing in the file is much older. Raises InputError when the file cannot be read.
        """
        return None

    @abstractmethod
    def read(
        self,
        path: Path,
        position: dict[str, Any] | None = None,
        *,
        until: dict[str, Any] | None = None,
        growing: bool = False,
    ) -> Iterator[Batch]:
        """Read a file from its beginning or from a batch's position, to its end or to another batch's position.

        growing: somebody still writes it, so that an unfinished last line (and an empty file) waits.
        Raises InputError, naming the file and the remedy, when nothing in it can be used.
        """


def load_source(name: str) -> type[Source]:
    """Return the class of a registered source. Raises InputError when there is none of this name."""
    if name not in SOURCES:
        raise InputError(f"format {name!r}: choose from {', '.join(SOURCES)}, csv:NAME")
    module, _, attribute = SOURCES[name].partition(":")
    source: type[Source] = getattr(import_module(module), attribute)
    return source
