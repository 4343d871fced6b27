"""A stream of JSON lines of any makers: each line is read by the rules of who wrote it."""

from pathlib import Path
from typing import Any

from tocsin.sources.eve_json import take_flows, take_other
from tocsin.sources.event_json import take_events
from tocsin.sources.jsonlines import json_object
from tocsin.sources.kinds import Kinds, Origin, json_origin, origin_of, split_origins
from tocsin.sources.lines import NOTHING, Parsed, Piece, Taken, first_line, parsed_piece
from tocsin.sources.zeek_json import take_conn, take_log


def json_header(kinds: Kinds, path: Path, data: bytes) -> dict[str, Any]:
    """Return the header of a stream that begins so: who writes the lines that do not say it."""
    bare = origin_of(kinds.bare) if kinds.bare else _bare(json_origin(json_object(first_line(data)) or {}, path))
    return {"json": True, "bare": list(bare)}


def _bare(first: Origin) -> Origin:
    return Origin("event") if first.format == "eve" else first


def parse_json(piece: Piece, kinds: Kinds) -> list[Parsed]:
    """Return the records in a piece of JSON lines, kind by kind; lines of kinds that are not wanted are not parsed."""
    bare = Origin(*piece.header["bare"])
    found: list[Parsed] = []
    skipped = 0
    for origin, (data, numbers) in split_origins(piece.data, bare).items():
        if kinds.wants(origin.kind):
            taken = _take(origin, data)
            wrong = [(int(numbers[number]), reason) for number, reason in taken.wrong if number < len(numbers)]
            found.append(parsed_piece(piece, Taken(taken.table, numbers[taken.numbers], wrong), origin.kind))
        else:
            skipped += data.count(b"\n") + (not data.endswith(b"\n"))
    found = found or [Parsed(NOTHING)]
    found[-1].skipped = skipped
    return found


def _take(origin: Origin, data: bytes) -> Taken:
    if origin.format == "zeek":
        return take_conn(data) if origin.name == "conn" else take_log(data, origin.name)
    if origin.format == "eve":
        return take_flows(data) if origin.name == "flow" else take_other(data)
    return take_events(data)
