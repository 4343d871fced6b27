"""Argus flows as comma-separated text (binetflow), as `ra` writes them and CTU-13 hands them out."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.records.flow import MANDATORY
from tocsin.records.maps import ARGUS, ARGUS_TYPES, kept
from tocsin.records.rows import Rows
from tocsin.sources.blocks import Block
from tocsin.sources.delimited import missing, read_table, without_header
from tocsin.sources.lines import (
    NOTHING,
    LineSource,
    Parsed,
    Piece,
    Titled,
    first_line,
    parsed_piece,
    rejections,
    take,
)

_THEIRS = {field.name: theirs for theirs, field in ARGUS.items() if field.name in MANDATORY}
_ICMP = ("icmp", "ipv6-icmp")
_IPSEC = ("esp", "ah")


class ArgusSource(LineSource):
    """Reads bidirectional Argus flows.

    Delivery: each row once, in the order of the file, from any line on. The first line names the columns. Times
    without an offset are UTC. What the responder sent is the total less what the originator sent; where a file has
    no SrcPkts the packets of each side stay unknown. For ICMP, Argus writes type and code into the source port,
    `0x0103` for type 3, code 1; for IPsec, the security parameter index into a port, which is left out.
    Specification: https://openargus.org, ra(1); https://www.stratosphereips.org/datasets-ctu13 for the files.
    """

    name = "argus"
    titled = True

    @classmethod
    def recognises(cls, head: bytes, path: Path) -> bool:
        """A first line that names StartTime, SrcAddr and DstAddr."""
        names = first_line(head).decode(errors="replace").split(",")
        return {"StartTime", "SrcAddr", "DstAddr"} <= {name.strip() for name in names}

    def cut(self, path: Path, block: Block, header: dict[str, Any]) -> tuple[list[Titled], dict[str, Any]]:
        """Take the first line as header."""
        lines, header = without_header(block, header)
        if "fields" in header and (absent := [name for name in _THEIRS.values() if name not in header["fields"]]):
            raise missing(path, absent, ", ".join(header["fields"]))
        return [(lines, header)] if lines.data else [], header

    def parse(self, path: Path, piece: Piece) -> list[Parsed]:
        """Turn lines into flows."""
        names = piece.header["fields"]
        table, numbers, wrong = read_table(piece.data, names, delimiter=",", nulls=[""])
        if not table.num_rows:
            return [Parsed(NOTHING, rejections(piece, wrong))]
        texts = {name: table.column(name).combine_chunks() for name in names}
        _icmp_as_ports(texts)
        _without_index(texts)
        rows = Rows(table.num_rows)
        for name, text in texts.items():
            field = ARGUS.get(name) or kept(name, ARGUS_TYPES.get(name, "string"), "argus")
            rows.read(name, pc.utf8_trim_whitespace(text), field)
        for total, ours, other in (("TotBytes", "sbytes", "dbytes"), ("TotPkts", "spkts", "dpkts")):
            _add_rest(rows, total, ours, other)
        rows.require(_THEIRS)
        rows.check_addresses()
        return [parsed_piece(piece, take(rows, numbers, wrong))]


def _icmp_as_ports(texts: dict[str, pa.Array]) -> None:
    """Put the ICMP type and code, both written into the source port, where the ports stand."""
    if not {"Sport", "Dport"} <= texts.keys():
        return
    is_icmp = pc.is_in(pc.utf8_lower(texts["Proto"]), pa.array(_ICMP))
    is_hex = pc.match_substring_regex(texts["Sport"], "^0x[0-9a-fA-F]{1,4}$")
    both = pc.fill_null(pc.and_(is_icmp, is_hex), fill_value=False)
    if not pc.any(both).as_py():
        return
    words = [int(value, 16) for value in texts["Sport"].filter(both).to_pylist()]
    texts["Sport"] = pc.replace_with_mask(texts["Sport"], both, pa.array([str(word & 255) for word in words]))
    texts["Dport"] = pc.replace_with_mask(texts["Dport"], both, pa.array([str(word >> 8) for word in words]))


def _without_index(texts: dict[str, pa.Array]) -> None:
    """Empty the ports of IPsec, where Argus writes the security parameter index."""
    is_ipsec = pc.fill_null(pc.is_in(pc.utf8_lower(texts["Proto"]), pa.array(_IPSEC)), fill_value=False)
    if pc.any(is_ipsec).as_py():
        for name in ("Sport", "Dport"):
            if name in texts:
                texts[name] = pc.if_else(is_ipsec, pa.scalar(None, pa.string()), texts[name])


def _add_rest(rows: Rows, total: str, ours: str, other: str) -> None:
    if total not in rows.columns or ours not in rows.columns or other in rows.columns:
        return
    all_, sent = rows.columns[total], rows.columns[ours]
    more = pc.fill_null(pc.greater(sent, all_), fill_value=False)
    for index, wrong in enumerate(more.to_pylist() if pc.any(more).as_py() else []):
        if wrong:
            rows.reject(index, f"more {ours} than {total}")
    rows.columns[other] = pc.subtract(all_, pc.min_element_wise(sent, all_, skip_nulls=False))
