"""Work on spans of rows, side by side where there are threads for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

SPAN_ROWS = 8192
"""Rows a piece: their codes stay in the second cache."""


def over_spans(work: Callable[[int, int], None], rows: int, threads: int) -> None:
    """Call work(start, end) for every span of rows. What it computes of a row may not depend on the span."""
    spans = [(start, min(start + SPAN_ROWS, rows)) for start in range(0, rows, SPAN_ROWS)]
    if threads <= 1 or len(spans) <= 1:
        for start, end in spans:
            work(start, end)
        return
    with ThreadPoolExecutor(min(threads, len(spans))) as pool:
        for future in [pool.submit(work, *span) for span in spans]:
            future.result()
