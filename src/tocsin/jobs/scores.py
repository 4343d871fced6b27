"""The score files: one Parquet object for each lake object, every flow with its score and top reasons."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tocsin.detector import Scored
from tocsin.jobs.work import Work
from tocsin.lifecycle.model import Model
from tocsin.records.finding import SEVERITIES
from tocsin.verdict.severity import Cutoffs

COLUMNS = ("flowid", "stime", "etime", "saddr", "daddr", "sport", "dport", "proto")
"""What a score file takes over from the flow, where the flow has it."""


def state_path(domain: str) -> str:
    """Return where it is kept what was scored, and up to when."""
    return f"{domain}/score/.state.json"


def score_prefix(domain: str, day: date) -> str:
    """Return the folder of a day's score files."""
    return f"{domain}/score/year={day:%Y}/month={day:%m}/day={day:%d}/"


def score_path(domain: str, day: date, lake_path: str, part: str) -> str:
    """Return the score file of a lake object; `part` is 'all' or the protocols that an instance is limited to."""
    stem = lake_path.rsplit("/", 1)[-1].removesuffix(".parquet")
    return f"{score_prefix(domain, day)}{stem}{'' if part == 'all' else '-' + part}.parquet"


def score_batch(model: Model, flows: pa.Table, cutoffs: Cutoffs) -> pa.Table:
    """Score flows of one protocol: their identity with raw, score, severity, reason_1, reason_1_share, …, model."""
    scored = model.detector.score(flows)
    score = model.calibration.score(scored.raw)
    codes = cutoffs.codes(score)
    columns = {name: flows.column(name) for name in COLUMNS if name in flows.column_names}
    columns["raw"] = pa.array(scored.raw.astype(np.float32))
    columns["score"] = pa.array(score)
    columns["severity"] = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(list(SEVERITIES)))
    columns.update(_reasons(scored))
    columns["model"] = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(flows.num_rows, np.int8)), pa.array([model.version])
    )
    return pa.table(columns)


def high_flows(work: Work, day: date, entities: list[str]) -> pa.Array:
    """Return the ids of a day's flows of these entities that scored high or above, from the score files."""
    least = work.settings.verdict.high
    wanted = pa.array(entities)
    ids: list[pa.Array] = []
    for info in work.store.list(score_prefix(work.domain, day)):
        with work.store.open(info.path) as handle:
            table = pq.read_table(
                handle,
                columns=["flowid", "saddr", "daddr", "score"],
                filters=pc.field("score") >= least,
                partitioning=None,
            )
        of_entity = pc.or_(
            pc.is_in(table.column("saddr"), value_set=wanted), pc.is_in(table.column("daddr"), value_set=wanted)
        )
        ids += table.filter(of_entity).column("flowid").chunks
    return pa.chunked_array(ids, pa.string()).combine_chunks() if ids else pa.array([], pa.string())


def _reasons(scored: Scored) -> dict[str, pa.Array]:
    names = pa.array(scored.fields, pa.string())
    columns: dict[str, pa.Array] = {}
    for rank in range(scored.reason_field.shape[1]):
        index = scored.reason_field[:, rank]
        missing = index < 0
        codes = pa.array(np.where(missing, 0, index).astype(np.int16), mask=missing)
        columns[f"reason_{rank + 1}"] = pa.DictionaryArray.from_arrays(codes, names)
        columns[f"reason_{rank + 1}_share"] = pa.array(scored.reason_share[:, rank])
    return columns
