"""Observations and scores as Arrow streams, for programs.

Specification: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format.
"""

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.options import MOST_COMPONENTS
from tocsin.detectors.novelty.scores import Scores
from tocsin.detectors.novelty.texts import texts
from tocsin.serve.incoming import check_count
from tocsin.serve.problems import Problem

MOST_UNPACKED_BYTES = 256 << 20

_REMEDY = "send one Arrow IPC stream whose columns are the components, all of one length"


def columns_of_stream(body: bytes) -> list[pa.Array]:
    """Return the columns of an Arrow IPC stream, each as n texts. Raises Problem 400 or 422."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            table = _whole(reader)
        table.validate(full=True)  # what a stranger sends may point outside of its buffers
        if nested := next((field.name for field in table.schema if pa.types.is_nested(field.type)), None):
            detail = f"the column {nested!r} holds lists or records; a component is one value"
            raise Problem(422, detail=detail, field=f"body.{nested}", remedy=_REMEDY)
        columns = [texts(column.combine_chunks()) for column in table.columns]
    except (pa.ArrowException, ValueError, OSError) as error:
        first = (str(error) or "it is cut off").splitlines()[0]
        raise Problem(400, detail=f"this is no Arrow stream: {first}", field="body", remedy=_REMEDY) from error
    _check_size(sum(column.nbytes for column in columns))
    if not 0 < len(columns) <= MOST_COMPONENTS:
        detail = f"an observation has 1 to {MOST_COMPONENTS} components, not {len(columns)}"
        raise Problem(422, detail=detail, field="body", remedy=_REMEDY)
    return columns


def _whole(reader: pa.RecordBatchStreamReader) -> pa.Table:
    """Return a stream's rows: of columns without values, or packed ones, a few bytes may hold any number."""
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        check_count(rows)
        _check_size(size)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _check_size(size: int) -> None:
    if size > MOST_UNPACKED_BYTES:
        detail = f"unpacked, this stream has more than {MOST_UNPACKED_BYTES:,} bytes"
        raise Problem(413, detail=detail, field="body", remedy="send it in parts")


def stream_of(scores: Scores) -> bytes:
    """Return scores as an Arrow IPC stream, a row an observation, under the names of the JSON result.

    mostNovelComponent is the index, novelty its bits; bits and share are lists as long as the observation. The
    observations themselves are not in it: whoever sent them has them.
    """
    return _stream(table_of(scores))


def stream_of_none(length: int) -> bytes:
    """Return what `stream_of` gives of no observations, of so many components."""
    doubles, whole = pa.float64(), pa.int64()
    types = dict.fromkeys(("score", "totalObsScore", "probability", "uniqueness", "infoContent"), doubles)
    lists = dict.fromkeys(("bits", "share"), pa.list_(doubles, length))
    end = {"mostNovelComponent": pa.int32(), "novelty": doubles, **lists, "warm": pa.bool_(), "confidence": doubles}
    return _stream(pa.schema({"sequence": whole, **types, **end}).empty_table())


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


def table_of(scores: Scores) -> pa.Table:
    """Return scores as a table, a row an observation."""
    count, length = scores.bits.shape
    novelty = scores.bits[np.arange(count), scores.most_novel] if length else np.zeros(count)
    return pa.table(
        {
            "sequence": scores.sequence,
            "score": scores.score,
            "totalObsScore": scores.total_score,
            "probability": scores.probability,
            "uniqueness": scores.uniqueness,
            "infoContent": scores.info_content,
            "mostNovelComponent": scores.most_novel,
            "novelty": novelty,
            "bits": _lists(scores.bits),
            "share": _lists(scores.share),
            "warm": scores.warm,
            "confidence": scores.confidence,
        }
    )


def _lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])
