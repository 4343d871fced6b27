"""Suricata's EVE JSON: its events of type `flow`, and the others."""

from pathlib import Path
from typing import Any

import numpy as np

from tocsin.sources.blocks import Block
from tocsin.sources.eve_json import take_flows
from tocsin.sources.jsonlines import json_object
from tocsin.sources.kinds import json_origin
from tocsin.sources.lines import NOTHING, LineSource, Parsed, Piece, Taken, Titled, first_line, parsed_piece
from tocsin.sources.mixed import json_header, parse_json


class EveSource(LineSource):
    """Reads flow events as flows; other events are counted as skipped, what is no JSON is set aside.

    With `kinds`, the others are records of kind `eve.<event_type>`: nested fields flattened by dots
    (`alert.signature`), lists as text; `eve.stats` only when it is asked for.
    Delivery: each event once, in the order of the file, from any line on. Times carry an offset and become UTC.
    For ICMP the type and code stand as ports.
    Specification: https://docs.suricata.io, "EVE JSON Format".
    """

    name = "eve"

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A JSON record with `event_type` and `timestamp`."""
        record = json_object(first_line(head))
        return record is not None and json_origin(record, path).format == "eve"

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """EVE has no header."""
        if self.kinds is not None and not header:
            header = json_header(self.kinds, path, block.data)
        return [(block, header)], header

    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn events into records."""
        if self.kinds is not None:
            return parse_json(piece, self.kinds)
        chosen, numbers, wrong, skipped = _flow_lines(piece.data)
        if not chosen:
            return [parsed_piece(piece, Taken(NOTHING, np.empty(0, np.int64), wrong), skipped=skipped)]
        taken = take_flows(b"\n".join(chosen))
        wrong += [(numbers[number], reason) for number, reason in taken.wrong]
        lines = np.array(numbers, np.int64)[taken.numbers]
        return [parsed_piece(piece, Taken(taken.table, lines, wrong), skipped=skipped)]


def _flow_lines(data: bytes) -> tuple[list[bytes], list[int], list[tuple[int, str]], int]:
    """Return the lines with flow events, their numbers, the lines that are no event, and how many are other events."""
    chosen, numbers, skipped = [], [], 0
    wrong: list[tuple[int, str]] = []
    for number, line in enumerate(data.split(b"\n")):
        if b'"event_type":"flow"' in line or b'"event_type": "flow"' in line:
            chosen.append(line)
            numbers.append(number)
        elif line.startswith(b"{") and line.rstrip().endswith(b"}") and b'"event_type"' in line:
            skipped += 1
        elif line.strip():
            record = json_object(line)
            if record is None or "event_type" not in record:
                wrong.append((number, "no EVE event"))
            else:
                skipped += 1
    return chosen, numbers, wrong, skipped
