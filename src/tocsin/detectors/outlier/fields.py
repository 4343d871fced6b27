"""Which fields of a record are compared, and how."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.detectors.outlier.columns import numbers
from tocsin.detectors.outlier.rowsample import SAMPLE_ROWS
from tocsin.errors import ModelError

KINDS = ("numeric", "category", "port", "address", "time_of_day")

_NUMERIC = (
    "dur rtt pcr spkts dpkts sbytes dbytes orig_bytes resp_bytes sentropy dentropy ssmallpktcnt dsmallpktcnt "
    "slargepktcnt dlargepktcnt snonemptypktcnt dnonemptypktcnt sfirstnonemptycnt dfirstnonemptycnt smaxpktsize "
    "dmaxpktsize savgpayload davgpayload sstdevpayload dstdevpayload ndpi_risk_score"
)
_CATEGORY = (
    "proto service conn_state history iflags uflags spd reason svlan dvlan scountry dcountry sasn dasn ndpi_appid "
    "ndpi_category ndpi_risk_severity ndpi_ja4 ndpi_ja3s ndpi_tcp_fp"
)
_NEVER = {"flowid", "community_id", "uid", "id", "label", "label_detail", "detailed_label", "class", "attack_cat"}
_UNIQUE_SHARE = 0.95


@dataclass(frozen=True)
class FieldSpec:
    """A field of a record and how its values are compared: numeric, category, port, address or time_of_day."""

    name: str
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ModelError(f"field {self.name!r}: kind {self.kind!r} is none of {', '.join(KINDS)}")


def flow_fields() -> list[FieldSpec]:
    """Return the fields of flows that models use unless told otherwise; labels and identifiers are never among them."""
    kinds = {"numeric": _NUMERIC, "category": _CATEGORY, "port": "sport dport", "address": "saddr daddr"}
    fields = [FieldSpec(name, kind) for kind, names in kinds.items() for name in names.split()]
    return [*fields, FieldSpec("stime", "time_of_day")]


def infer_fields(source: pa.Schema | pa.Table, exclude: Iterable[str] = ()) -> tuple[list[FieldSpec], dict[str, str]]:
    """Choose the fields of any table by name and type, and by value where rows are given.

    Returns the fields, and for each column that was left out the reason. Columns named as labels or identifiers,
    columns without any value, and text or whole numbers that are different in nearly every row are left out.
    """
    schema = source if isinstance(source, pa.Schema) else source.schema
    known = {spec.name: spec for spec in flow_fields()}
    excluded = set(exclude)
    fields, left_out = [], {}
    for column in schema:
        rows = None if isinstance(source, pa.Schema) else source.column(column.name)
        spec = _infer(column, known) if column.name not in excluded else "excluded"
        if isinstance(spec, FieldSpec) and rows is not None:
            spec = _judge(spec, rows) or spec
        if isinstance(spec, FieldSpec):
            fields.append(spec)
        else:
            left_out[column.name] = spec
    return fields, left_out


def _infer(column: pa.Field, known: dict[str, FieldSpec]) -> FieldSpec | str:
    name, kind = column.name, column.type
    lower = name.lower()
    if lower in _NEVER or lower.startswith("label"):
        return "a label or an identifier by its name"
    if pa.types.is_timestamp(kind):
        return FieldSpec(name, "time_of_day")
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if number or pa.types.is_boolean(kind) or pa.types.is_duration(kind):
        spec = known.get(name)
        return spec if spec and spec.kind in ("port", "category") else FieldSpec(name, "numeric")
    if pa.types.is_null(kind):
        return "no value in any row"
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind):
        return f"values of type {kind} are not compared"
    return known.get(name, FieldSpec(name, "category"))


def _judge(spec: FieldSpec, rows: pa.ChunkedArray) -> str | None:
    if len(rows) and rows.null_count == len(rows):
        return "no value in any row"
    head = rows.slice(0, SAMPLE_ROWS)
    text = spec.kind == "category" and not pa.types.is_dictionary(rows.type)
    whole = spec.kind == "numeric" and pa.types.is_integer(rows.type) and rows.null_count == 0
    if len(head) < 50 or not (text or whole):
        return None
    distinct = pc.count_distinct(head).as_py()
    if text and distinct > _UNIQUE_SHARE * len(head):
        return "different in nearly every row"
    if whole and distinct == len(head) and _counts_up(head):
        return "a row number"
    return None


def _counts_up(rows: pa.ChunkedArray) -> bool:
    values = numbers(rows).astype(np.float64)
    return bool((np.diff(values) > 0).all())
