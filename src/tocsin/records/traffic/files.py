"""Generated flows as files: Parquet, and Zeek's conn.log in its text form."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

_UNIQUE = ("flowid", "community_id")
_ZEEK = (
    # Zeek's field, its type, our column.
    ("ts", "time", "stime"),
    ("uid", "string", "flowid"),
    ("id.orig_h", "addr", "saddr"),
    ("id.orig_p", "port", "sport"),
    ("id.resp_h", "addr", "daddr"),
    ("id.resp_p", "port", "dport"),
    ("proto", "enum", "proto"),
    ("service", "string", "service"),
    ("duration", "interval", "dur"),
    ("orig_bytes", "count", "orig_bytes"),
    ("resp_bytes", "count", "resp_bytes"),
    ("conn_state", "string", "conn_state"),
    ("orig_pkts", "count", "spkts"),
    ("orig_ip_bytes", "count", "sbytes"),
    ("resp_pkts", "count", "dpkts"),
    ("resp_ip_bytes", "count", "dbytes"),
    ("community_id", "string", "community_id"),
    ("label", "string", "label"),
    ("detailed-label", "string", "label_detail"),
)


def parquet_bytes(table: pa.Table) -> memoryview:
    """Return a table as zstd Parquet."""
    out = pa.BufferOutputStream()
    # A dictionary of values that never come twice would only cost.
    coded = [
        name for name in table.column_names if name not in _UNIQUE and pa.types.is_string(table.schema.field(name).type)
    ]
    pq.write_table(table, out, compression="zstd", use_dictionary=coded, row_group_size=131_072)
    return memoryview(out.getvalue())


def write_zeek_header(out: BinaryIO) -> None:
    """Write the lines that stand before the rows of a conn.log."""
    lines = ("#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn")
    fields = "\t".join(["#fields", *(name for name, _, _ in _ZEEK)])
    types = "\t".join(["#types", *(kind for _, kind, _ in _ZEEK)])
    out.write("\n".join([*lines, fields, types, ""]).encode())


def write_zeek_rows(table: pa.Table, out: BinaryIO) -> None:
    """Write flows as rows of a conn.log."""
    columns = [pc.fill_null(_zeek_text(table, ours), "-") for _, _, ours in _ZEEK]
    texts = pa.table(columns, names=[name for name, _, _ in _ZEEK])
    options = pa_csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    pa_csv.write_csv(texts, out, options)


def _zeek_text(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name == "stime":
        return _seconds(table["stime"].cast(pa.int64()))
    if name == "dur":
        return _seconds(pc.subtract(table["etime"].cast(pa.int64()), table["stime"].cast(pa.int64())))
    return table[name].cast(pa.string())


def _seconds(micros: pa.ChunkedArray) -> pa.ChunkedArray:
    whole = pc.divide(micros, 1_000_000)
    part = pc.subtract(micros, pc.multiply(whole, 1_000_000)).cast(pa.string())
    return pc.binary_join_element_wise(whole.cast(pa.string()), pc.utf8_lpad(part, 6, "0"), ".")
