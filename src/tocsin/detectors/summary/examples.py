"""The records behind a key that is spoken of."""

import json

import numpy as np
import pyarrow as pa

from tocsin.detectors.summary.rows import plain_row
from tocsin.detectors.summary.stream import Observed

EXAMPLES = 20
"""Most records that are shown of a key."""

EXAMPLE_KEYS = 200
"""Most keys of one batch that are shown with records."""


def newest_rows(due: np.ndarray, until: np.ndarray, slots: np.ndarray, observed: Observed, table: pa.Table) -> pa.Array:
    """Return for each due slot its newest rows of this batch, up to row `until`, as a JSON list: (m,) string.

    '' for those past EXAMPLE_KEYS.
    """
    shown = []
    for slot, last in zip(due[:EXAMPLE_KEYS].tolist(), until.tolist(), strict=False):
        rows = observed.rows[np.flatnonzero(slots[: last + 1] == slot)[-EXAMPLES:]]
        shown.append(json.dumps([plain_row(row) for row in table.take(pa.array(rows)).to_pylist()]))
    return pa.array(shown + [""] * (len(due) - len(shown)), pa.string())
