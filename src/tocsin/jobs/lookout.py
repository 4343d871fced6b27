"""Which inputs there are: files become feeds, each log once, whatever it is called now."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tocsin.clock import Clock
from tocsin.errors import InputError
from tocsin.jobs.discover import (
    HEAD_BYTES,
    UnknownFormatError,
    find_files,
    has_packed_name,
    make_source,
    recognise,
)
from tocsin.jobs.feeds import ASLEEP_S, Feed, FileFeed, GrowingFeed, Tally
from tocsin.jobs.filestate import file_id, holds
from tocsin.jobs.pipes import PipeFeed, is_pipe
from tocsin.settings import IngestSettings
from tocsin.source import Source
from tocsin.sources.blocks import BLOCK_BYTES, Stream, unpacker_for
from tocsin.sources.kinds import Kinds
from tocsin.sources.lines import LineSource, first_line

_MANY = 4


class Lookout:
    """Finds inputs behind paths, folders, globs and `-`; of a log that lies there twice, one.

    A log is known by its beginning up to its first row, so that it is the same after it was renamed or packed; any
    other file by its path, size and time.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        settings: IngestSettings,
        clock: Clock,
        kinds: Kinds,
        format: str | None = None,
        follow: bool = False,
        positions: dict[str, Any] | None = None,
        apart: Path | None = None,
    ) -> None:
        self.apart = apart.resolve() if apart else None
        self.paths, self.settings, self.clock, self.kinds = list(paths), settings, clock, kinds
        self.format, self.follow = format, follow
        self.left_out: dict[str, Tally] = {}
        """What was found and is not read, by its path, with why."""
        self.missing: list[Tally] = []
        """What was asked for and is not there."""
        entries = (positions or {}).get("inputs", [])
        self.ended: dict[str, dict[str, Any]] = {
            str(entry["known_by"]): entry for entry in entries if entry["ended"] and not _is_pipes(entry)
        }
        """Inputs that were read to their end before, by what they are known by."""
        self._entries: dict[str, dict[str, Any]] = {
            str(entry["known_by"]): entry for entry in entries if entry["known_by"] not in self.ended
        }
        self._next = 1 + max((int(entry["number"]) for entry in entries), default=-1)
        self._seen: dict[Path, tuple[int, int]] = {}
        self._names = {known_by: Path(entry["path"]) for known_by, entry in self.ended.items() if known_by}
        self._block_bytes = BLOCK_BYTES

    def look(self) -> list[Feed]:
        """Return feeds for what is new since the last look."""
        found, failures = find_files(self.paths, pipes=True)
        self.missing = [Tally(name, error=text) for name, text in failures]
        for given in map(str, self.paths):
            if given in self.left_out and Path(given).is_dir():
                del self.left_out[given]  # the folder was not there before
        found = [item for item in found if item.named or not self._is_apart(item.path)]
        found.sort(key=lambda item: has_packed_name(item.path))  # of two, the plain one: packing may not be over
        if len(found) > _MANY:
            self._block_bytes = BLOCK_BYTES // 2
        feeds = [feed for item in found if (feed := self._look_at(item.path, named=item.named)) is not None]
        return feeds + self._moved_away()

    def _is_apart(self, path: Path) -> bool:
        return self.apart is not None and path.resolve().is_relative_to(self.apart)

    def forget(self, path: Path) -> None:
        """Look at a path again: it holds another log now."""
        self._seen.pop(path, None)

    def moved(self, feed: Feed) -> Feed | None:
        """Return a feed for what followed the position of one whose file was cut off, from the file's copy."""
        entry = {"path": str(feed.path), "known_by": feed.known_by, "number": feed.number, "position": feed.position}
        return self._elsewhere({**entry, "newest_us": feed.newest_us, **_counts(feed.tally)})

    def _look_at(self, path: Path, *, named: bool) -> Feed | None:
        if is_pipe(path):
            return self._pipe(path)
        try:
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            if self._seen.get(path) == key:
                return None
            stream = Stream(path)
            head = stream.head(HEAD_BYTES)
            if self.follow and b"\n" not in head and len(head) < HEAD_BYTES:
                return None  # not a line yet
            if not (head or stream.warning or named):
                self._leave_out(path, f"{path}: is empty")
                return None
            return self._feed(path, self._source(head, path, warning=stream.warning), head, key)
        except UnknownFormatError as error:
            self._seen[path] = key
            self._leave_out(path, str(error), error=named)
        except InputError as error:
            self._leave_out(path, str(error), error=True)
        except OSError as error:
            self._leave_out(path, f"{path}: {error.strerror or error}", error=True)
        return None

    def _pipe(self, path: Path) -> Feed | None:
        if path in self._seen:
            return None
        self._seen[path] = (0, 0)
        known_by = f"{_PIPE}{path}"
        entry = self._entries.pop(known_by, None) or {"number": self._number()}
        return _at(PipeFeed(entry["number"], path, self.clock, self._lines, lasting=self._lasts(path)), known_by, entry)

    def _lasts(self, path: Path) -> bool:
        return self.follow and str(path) != "-"

    def _lines(self, head: bytes, path: Path, before: str) -> LineSource:
        """Return the source of a pipe's lines; a stream that goes on may come without its header."""
        try:
            source = self._source(head, path)
        except UnknownFormatError:
            if not before:
                raise
            source = self._make(before)
        if not isinstance(source, LineSource):
            raise InputError(f"{path}: {source.name} cannot be read from a pipe; write it to a file first")
        return source

    def _source(self, head: bytes, path: Path, *, warning: str = "") -> Source:
        return self._make(self.format or recognise(head, path, self.settings, warning=warning))

    def _make(self, name: str) -> Source:
        return make_source(name, self.settings, kinds=self.kinds, block_bytes=self._block_bytes)

    def _feed(self, path: Path, source: Source, head: bytes, key: tuple[int, int]) -> Feed | None:
        kind = _only_kind(source, head, path)
        if kind is not None and not self.kinds.wants(kind):
            self._seen[path] = key
            self._leave_out(path, unasked=kind)
            return None
        known_by = self._known_by(source, path, head)
        if not known_by and self.follow:
            return None  # not a row yet
        self._seen[path] = key
        entry = self._entry(path, source, known_by)
        if entry is None and known_by in self._names:
            if not self.follow and self._names[known_by] != path:
                self._leave_out(path, f"{path}: is the same log as {self._names[known_by]}")
            return None
        if known_by:
            self._names[known_by] = path
        self.left_out.pop(str(path), None)
        return self._make_feed(path, source, head, known_by, entry or {"number": self._number()})

    def _make_feed(self, path: Path, source: Source, head: bytes, known_by: str, entry: dict[str, Any]) -> Feed:
        number = int(entry["number"])
        feed: Feed = FileFeed(number, path, source, self.clock)
        if self.follow and isinstance(source, LineSource) and not _is_packed(path):
            feed = GrowingFeed(number, path, source, self.clock)
            if self.clock.now().timestamp() - path.stat().st_mtime < ASLEEP_S:
                feed.hold()  # it may be renamed before its turn comes
        feed.first_us = source.earliest(path, head)
        return _at(feed, known_by, entry)

    def _known_by(self, source: Source, path: Path, head: bytes) -> str:
        if source.appendable:
            return file_id(source, path, head, growing=self.follow) or ""
        status = path.stat()
        return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"

    def _entry(self, path: Path, source: Source, known_by: str) -> dict[str, Any] | None:
        """Return where to go on in a log that was begun before; one that was read to its end may have grown."""
        entry = self._entries.get(known_by)
        if entry is not None and (not (source.appendable and entry["position"]) or holds(path, entry["position"])):
            return self._entries.pop(known_by)
        entry = self.ended.get(known_by)
        if entry is None or not (source.appendable and entry["position"]) or entry["path"] != str(path):
            return None
        has_grown = self.follow or path.stat().st_size > entry["position"]["offset"]
        if not has_grown or _is_packed(path) or not holds(path, entry["position"]):
            return None
        return self.ended.pop(known_by)

    def _moved_away(self) -> list[Feed]:
        """Return feeds for logs that were read before and are under another name now; done at the first look."""
        feeds = []
        for entry in self._entries.values():
            if not entry["position"]:
                continue
            feed = self._elsewhere(entry)
            if feed is None and not _is_pipes(entry):
                note = "is gone, or another now; what came after the last position was not read"
                self._leave_out(Path(entry["path"]), f"{entry['path']}: {note}", error=True)
            feeds += [feed] if feed is not None else []
        self._entries.clear()
        return feeds

    def _elsewhere(self, entry: dict[str, Any]) -> Feed | None:
        folder = Path(entry["path"]).parent
        for path in sorted(folder.iterdir()) if folder.is_dir() and entry["position"] else []:
            if not path.is_file() or str(path) == entry["path"]:
                continue
            try:
                head = Stream(path).head(HEAD_BYTES)
                source = self._source(head, path)
                if self._known_by(source, path, head) == entry["known_by"] and holds(path, entry["position"]):
                    self._names[entry["known_by"]] = path
                    feed = FileFeed(int(entry["number"]), path, source, self.clock)
                    return _at(feed, str(entry["known_by"]), entry)
            except (InputError, OSError):
                continue
        return None

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _leave_out(self, path: Path, text: str = "", *, error: bool = False, unasked: str = "") -> None:
        tally = Tally(str(path), unasked=unasked)
        if error:
            tally.error = text
        elif text:
            tally.warnings = [text]
        self.left_out[str(path)] = tally


def _at(feed: Feed, known_by: str, entry: dict[str, Any]) -> Feed:
    """Let a feed go on where an entry says."""
    feed.known_by = known_by
    feed.position, feed.newest_us = entry.get("position"), entry.get("newest_us")
    feed.format = feed.format or str(entry.get("format", ""))
    feed.tally = tally_of({**entry, "path": str(feed.path), "format": feed.format})
    return feed


def tally_of(entry: dict[str, Any]) -> Tally:
    """Return what an entry of positions has counted."""
    records, rejected, skipped = (int(entry.get(name, 0)) for name in _COUNTS)
    return Tally(str(entry["path"]), str(entry["format"]), records, rejected, skipped)


def _is_pipes(entry: dict[str, Any]) -> bool:
    return str(entry["known_by"]).startswith(_PIPE)


_PIPE = "pipe:"
_COUNTS = ("records", "rejected", "skipped")


def _counts(tally: Tally) -> dict[str, int]:
    return {name: getattr(tally, name) for name in _COUNTS}


def _only_kind(source: Source, head: bytes, path: Path) -> str | None:
    """Return the kind of all records of a file, None where it may hold several."""
    if source.name in ("eve", "ndjson", "pcap"):
        return None
    kind = source.kind(head, path)
    if source.name != "zeek":
        return kind
    log = "conn" if kind == "flow" else kind.partition(".")[2]
    mixed = b'"_path"' in head if first_line(head).startswith(b"{") else path.name.partition(".")[0] != log
    return None if mixed else kind


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return unpacker_for(file.read(4)) is not None
