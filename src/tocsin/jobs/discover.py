"""Which files are meant by paths, folders and globs, and which source reads each."""

import codecs
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.errors import InputError
from tocsin.settings import IngestSettings
from tocsin.source import SOURCES, Source, load_source
from tocsin.sources.blocks import Stream
from tocsin.sources.csv import CsvSource
from tocsin.sources.delimited import column_names
from tocsin.sources.lines import first_line

HEAD_BYTES = 64 << 10
_SUFFIXES = (".log", ".labeled", ".json", ".binetflow", ".csv", ".parquet", ".pcap", ".pcapng", ".cap")
_PACKED = (".gz", ".zst", ".zstd")


class UnknownFormatError(InputError):
    """No source recognises a file."""


@dataclass(frozen=True)
class Found:
    """A file to read; named: it was asked for itself, not through its folder."""

    path: Path
    named: bool


def find_files(paths: Iterable[str | Path], *, pipes: bool = False) -> tuple[list[Found], list[tuple[str, str]]]:
    """Return the files behind paths, folders (recognised names, recursively) and globs, each once.

    pipes: a named pipe, and `-` for the standard input, are taken too. With them what failed: what was asked for, why.
    """
    found: dict[Path, Found] = {}
    failures: list[tuple[str, str]] = []
    for given in paths:
        path = Path(given)
        if pipes and (str(given) == "-" or path.is_fifo()):
            found[path] = Found(path, named=True)
        elif path.is_dir():
            inside = sorted(item for item in path.rglob("*") if item.is_file() and _has_known_name(item))
            if not inside:
                failures.append((str(path), f"{path}: this folder holds no logs or captures"))
            for item in inside:
                found.setdefault(item, Found(item, named=False))
        elif path.is_fifo() or path.is_socket():
            failures.append((str(path), f"{path}: is a pipe, which can be read once only; write it to a file first"))
        elif path.exists() or not glob.has_magic(str(given)):
            found[path] = Found(path, named=True)
        else:
            matched = [Path(item) for item in sorted(glob.glob(str(given), recursive=True)) if Path(item).is_file()]  # noqa: PTH207
            if not matched:
                failures.append((str(given), f"{given}: no file is named so"))
            for item in matched:
                found.setdefault(item, Found(item, named=True))
    return list(found.values()), failures


def has_packed_name(path: Path) -> bool:
    """Whether a file is packed, by its name."""
    return path.name.lower().endswith(_PACKED)


def _has_known_name(path: Path) -> bool:
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return name.endswith(_SUFFIXES) or ".log." in name


def choose_source(path: Path, settings: IngestSettings, format_name: str | None = None) -> tuple[Source, bytes]:
    """Return the source of a format, or the one that recognises the file, and the file's first (unpacked) bytes.

    Raises InputError when the file cannot be opened or nothing recognises it.
    """
    stream = Stream(path)
    head = stream.head(HEAD_BYTES)
    name = format_name or recognise(head, path, settings, warning=stream.warning)
    return make_source(name, settings), head


def recognise(head: bytes, path: Path, settings: IngestSettings, *, warning: str = "") -> str:
    """Return the name of the format of a file that begins so. warning: what is wrong with it, where it is empty.

    Raises InputError when nothing recognises it.
    """
    for name in SOURCES:
        if load_source(name).recognises(head, path):
            return name
    names = set(column_names(first_line(head)))
    for map_name, columns in settings.csv.items():
        if names and {value for value in columns.values() if value.isidentifier()} <= names:
            return f"csv:{map_name}"
    if not head:
        raise InputError(f"{path}: {warning or 'is empty'}")
    raise UnknownFormatError(f"{path}: is no log that is known ({', '.join(SOURCES)}){_hint(head)}")


def _hint(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "; it is UTF-16: save it as UTF-8"
    if head.startswith(codecs.BOM_UTF8):
        return "; it begins with a byte order mark: save it as UTF-8 without one"
    line = first_line(head)
    if line.count(b"\t") > 5:
        return "; it looks like a Zeek log without its header (#fields)"
    if line.count(b",") > 3:
        return "; for CSV, map its columns under ingest.csv and name the map with --format csv:NAME"
    return ""


def make_source(format_name: str, settings: IngestSettings, **options: Any) -> Source:
    """Build a source by its name (`csv:NAME` for a CSV map). Raises InputError when there is none of this name.

    options: what sources of lines take besides: `kinds` (captures too), `block_bytes`.
    """
    name, _, map_name = format_name.partition(":")
    kind = load_source(name)
    if name == "csv":
        if map_name and map_name not in settings.csv:
            maps = ", ".join(settings.csv) or "none yet"
            raise InputError(f"format {format_name!r}: there is no such column map under ingest.csv (there: {maps})")
        return CsvSource(settings.csv.get(map_name, {}), map_name=map_name, workers=settings.workers, **options)
    if name == "parquet":
        return kind(settings.rename)  # type: ignore[call-arg]
    if name == "pcap":
        return kind(kinds=options.get("kinds"))  # type: ignore[call-arg]
    return kind(workers=settings.workers, **options) if kind.appendable else kind()  # type: ignore[call-arg]
