"""What the sources of line formats share: blocks, headers, resume positions, the unfinished last line."""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from tocsin.errors import InputError
from tocsin.records.rows import Rows, shorten
from tocsin.records.times import earliest
from tocsin.source import Batch, Rejected, Source
from tocsin.sources.blocks import BLOCK_BYTES, Block, Stream, parse_in_order, read_blocks
from tocsin.sources.kinds import Kinds

_TEXT_KEPT = 500
CHECKED_BYTES = 4096
_PEEKED_BYTES = 16 << 10
_LONE_RETURN = re.compile(rb"\r(?!\n)")


def fingerprint(data: bytes) -> dict[str, Any]:
    """Return size and hash of the bytes before a position, by which a file is known again."""
    return {"size": len(data), "hash": hashlib.blake2b(data, digest_size=16).hexdigest()}


@dataclass(frozen=True)
class Piece:
    """Lines that share a header: where they begin, their bytes, and what follows them."""

    block: Block
    header: dict[str, Any]
    data: bytes
    """Valid UTF-8, lines ended by a line feed."""

    warnings: tuple[str, ...] = ()

    @property
    def end(self) -> dict[str, Any]:
        """The position behind these lines."""
        lines = self.block.data.count(b"\n") + (0 if self.block.terminated else 1)
        position = {
            "offset": self.block.offset + len(self.block.data),
            "line": self.block.line + lines,
            "header": self.header,
            "check": fingerprint(self.block.data[-CHECKED_BYTES:]),
        }
        if not self.block.terminated:
            position["open"] = True
        return position

    def within(self, done: int) -> dict[str, Any]:
        """Say, for a position in the midst of these lines, that so many kinds of records were taken."""
        return {"offset": self.block.offset, "line": self.block.line, "header": self.header, "done": done}


class Taken(NamedTuple):
    """What lines hold: records; each one's number among the lines, (n,) int64, 0-based; lines that hold none, why."""

    table: pa.Table
    numbers: np.ndarray
    wrong: list[tuple[int, str]]


@dataclass
class Parsed:
    """Records of one kind in a piece of lines, their lines in the file, rejected rows, and lines of no interest."""

    table: pa.Table
    rejected: list[Rejected] = field(default_factory=list)
    skipped: int = 0
    kind: str = "flow"
    lines: np.ndarray | None = None


NOTHING = pa.table({})
Titled = tuple[Block, dict[str, Any]]
"""Lines and the header they stand under."""


class LineSource(Source):
    """A source of lines. Reading goes on at any line; blocks are parsed on threads and come out in order."""

    appendable = True
    titled: ClassVar[bool] = False
    """Whether the first line names the columns."""

    def __init__(self, *, workers: int = 1, block_bytes: int = BLOCK_BYTES, kinds: Kinds | None = None) -> None:
        self.workers = workers
        self.block_bytes = block_bytes
        self.kinds = kinds
        """Which kinds of records are wanted; None: flows alone."""

    def read(
        self,
        path: Path,
        position: dict[str, Any] | None = None,
        *,
        until: dict[str, Any] | None = None,
        growing: bool = False,
    ) -> Iterator[Batch]:
        """Read whole lines. The last line without a line feed is taken where it is a good row, unless `growing`."""
        stream = Stream(path)
        position = position or BEGINNING
        pieces = self._of_file(stream, position, until, growing)
        for batches in parse_in_order(pieces, lambda piece: self.batches(path, piece), self.workers):
            for batch in _behind(batches, position):
                position = batch.position = batch.position or position
                yield batch
                if position == until:
                    return
        if stream.warning:
            note = f"{path}: {stream.warning}; the rows before that were read"
            yield Batch("flow", NOTHING, position, warnings=[note])
        elif not stream.begun and not position["offset"] and not growing:
            raise InputError(f"{path}: is empty")

    def follow(
        self, path: Path, blocks: Iterable[Block | None], position: dict[str, Any] | None = None
    ) -> Iterator[Batch | None]:
        """Read blocks as they come, from a position's offset on; None where none is there yet.

        path: what the stream is called.
        """
        position = position or BEGINNING
        pieces = self._pieces(path, blocks, position)
        again = [_again(Stream(path), position, position["within"])] if position.get("within") else []
        for piece in chain(again, pieces):
            if piece is None:
                yield None
                continue
            for batch in _behind(self.batches(path, piece), position):
                position = batch.position = batch.position or position
                yield batch

    def earliest(self, path: Path, head: bytes) -> int | None:
        """Return the earliest time among the first records."""
        whole = head[: head.find(b"\n", _PEEKED_BYTES) + 1 or head.rfind(b"\n") + 1]
        found: list[int] = []
        with suppress(InputError):
            for batch in self.follow(path, [Block(0, 1, whole)] if whole else []):
                found += [earliest(batch.kind, batch.table)] if batch and batch.table.num_rows else []
        return min(found, default=None)

    @abstractmethod
    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Cut a block where the header changes: lines with the header they stand under, and the header after them.

        Raises InputError when the file cannot be of this format.
        """

    @abstractmethod
    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn lines into records, one kind after the other."""

    def _of_file(
        self, stream: Stream, position: dict[str, Any], until: dict[str, Any] | None, growing: bool
    ) -> Iterator[Piece]:
        end = until["offset"] if until else None
        if within := position.get("within"):
            yield _again(stream, position, within)
        blocks = read_blocks(stream, position["offset"], position["line"], until=end, size=self.block_bytes)
        whole = takewhile(lambda block: block.terminated or not (growing or stream.warning), blocks)
        yield from (piece for piece in self._pieces(stream.path, whole, position) if piece is not None)

    def _pieces(self, path: Path, blocks: Iterable[Block | None], position: dict[str, Any]) -> Iterator[Piece | None]:
        header, unfinished = position["header"], bool(position.get("open"))
        for block in blocks:
            warnings: tuple[str, ...] = ()
            if block is not None and unfinished:
                block, warnings = _after_line(path, block)
                unfinished = not block.data and not block.terminated
            if block is None:
                yield None
            elif block.data:
                pieces, header = self.pieces(path, block, header, warnings)
                yield from pieces

    def pieces(
        self, path: Path, block: Block, header: dict[str, Any], warnings: tuple[str, ...] = ()
    ) -> tuple[list[Piece], dict[str, Any]]:
        """Cut a block where the header changes; return its pieces and the header after them."""
        titled, header = self.cut(path, block, header)
        notes = [warnings, *[()] * len(titled)]
        return [
            Piece(lines, above, clean(lines.data), note) for (lines, above), note in zip(titled, notes, strict=False)
        ], header

    def batches(self, path: Path, piece: Piece) -> list[Batch]:
        """Turn a piece of lines into batches, one a kind of records; only the last one's position is behind it."""
        found = self.parse(path, piece)
        rejected = any(parsed.rejected for parsed in found)
        if not piece.block.terminated and rejected and not any(parsed.table.num_rows for parsed in found):
            note = f"{path}:{piece.block.line}: the last line breaks off; it is read once it is complete"
            return [Batch("flow", NOTHING, {}, warnings=[note])]
        end = piece.end
        batches = [
            Batch(
                parsed.kind,
                parsed.table,
                end if done == len(found) else {**end, "within": piece.within(done)},
                rejected=parsed.rejected,
                rejected_count=len(parsed.rejected),
                skipped=parsed.skipped,
                lines=parsed.lines,
            )
            for done, parsed in enumerate(found, 1)
        ]
        batches[0].warnings += piece.warnings
        return batches


BEGINNING: dict[str, Any] = {"offset": 0, "line": 1, "header": {}}
"""The position before the first line."""


def _again(stream: Stream, position: dict[str, Any], within: dict[str, Any]) -> Piece:
    """Read a piece anew of which not every kind was taken."""
    data = b"".join(stream.pieces(within["offset"], position["offset"]))
    block = Block(within["offset"], within["line"], data, not position.get("open"))
    return Piece(block, within["header"], clean(data))


def _behind(batches: list[Batch], position: dict[str, Any]) -> list[Batch]:
    """Leave out the batches of a piece that were taken before."""
    within = position.get("within")
    if within and batches[-1].position == {name: value for name, value in position.items() if name != "within"}:
        return batches[within["done"] :]
    return batches


def _after_line(path: Path, block: Block) -> tuple[Block, tuple[str, ...]]:
    """Leave out the rest of a line whose beginning was taken as a row before."""
    cut = block.data.find(b"\n") + 1
    if not cut:
        return replace(block, offset=block.offset + len(block.data), data=b""), ()
    note = f"{path}:{block.line - 1}: this line was read before it was complete; its row holds the first part"
    warnings = (note,) if block.data[:cut].strip() else ()
    return replace(block, offset=block.offset + cut, data=block.data[cut:]), warnings


def clean(data: bytes) -> bytes:
    """Return lines as valid UTF-8 with plain line feeds; bytes that are none become `\\xNN`."""
    if b"\r" in data:
        data = _LONE_RETURN.sub(rb"\\x0d", data.replace(b"\r\n", b"\n"))
        data = data[:-4] + b"\n" if data.endswith(b"\\x0d") else data
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace").encode()
    return data


def rejections(piece: Piece, reasons: list[tuple[int, str]]) -> list[Rejected]:
    """Return the rows set aside, in the order of their lines; blank lines are nothing.

    reasons: the line in the piece, 0-based, and why.
    """
    if not reasons:
        return []
    lines = piece.data.split(b"\n")
    rejected = []
    for number, reason in sorted(reasons):
        text = lines[number] if number < len(lines) else b""
        if text.strip():
            shown = text[:_TEXT_KEPT].decode(errors="backslashreplace")
            rejected.append(Rejected(piece.block.line + number, reason, shown))
    return rejected


def take(rows: Rows, numbers: np.ndarray, wrong: list[tuple[int, str]]) -> Taken:
    """Return the rows that stand. numbers: the line of each row; wrong: lines that are no rows, with why."""
    reasons = rejected_rows(rows, numbers) + wrong
    if not rows.count:
        return Taken(NOTHING, numbers, reasons)
    return Taken(rows.table(), rows.kept(numbers), reasons)


def parsed_piece(piece: Piece, taken: Taken, kind: str = "flow", skipped: int = 0) -> Parsed:
    """Return what was taken from a piece."""
    rejected = rejections(piece, taken.wrong)
    return Parsed(taken.table, rejected, skipped, kind, piece.block.line + taken.numbers)


def rejected_rows(rows: Rows, numbers: np.ndarray) -> list[tuple[int, str]]:
    """Return the reasons of rejected rows with their lines in the piece."""
    return [(int(numbers[index]), reason) for index, reason in rows.reasons.items()]


def first_line(head: bytes) -> bytes:
    """Return the first line that is not blank."""
    for line in head.split(b"\n"):
        if line.strip():
            return line.rstrip(b"\r")
    return b""


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    return shorten(value)
