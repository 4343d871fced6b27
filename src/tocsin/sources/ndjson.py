"""JSON lines of any make: events, each with its time."""

from pathlib import Path
from typing import Any

from tocsin.sources.blocks import Block
from tocsin.sources.jsonlines import json_object
from tocsin.sources.kinds import Kinds, json_origin
from tocsin.sources.lines import LineSource, Parsed, Piece, Titled, first_line
from tocsin.sources.mixed import json_header, parse_json


class NdjsonSource(LineSource):
    """Reads JSON objects, one a line, as records of kind `event`; Zeek's and Suricata's lines among them as theirs.

    The time is the first of `ts`, `time`, `timestamp`, `@timestamp`, `eventTime` that can be read as one: text as ISO
    8601, a number as seconds since 1970, or as milliseconds (microseconds, nanoseconds) where it is too large. It
    becomes the column `ts`. Nested fields are flattened by dots, lists become text. A line without a time is set aside.
    Delivery: each line once, in the order of the file, from any line on.
    Specification: RFC 8259; https://github.com/ndjson/ndjson-spec.
    """

    name = "ndjson"

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A JSON object that neither Zeek nor Suricata wrote."""
        record = json_object(first_line(head))
        return record is not None and json_origin(record, path).format == "event"

    def kind(self, head: bytes, path: Path) -> str:
        """Return `event`."""
        return "event"

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Lines of JSON have no header."""
        header = header or json_header(self.kinds or Kinds(), path, block.data)
        return [(block, header)], header

    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn lines into events."""
        return parse_json(piece, self.kinds or Kinds())
