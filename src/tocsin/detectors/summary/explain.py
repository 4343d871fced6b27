"""A summary in words: what it counts, when it rings, how early, and what it costs."""

from collections.abc import Iterator

from tocsin.detectors.summary.accumulator import accumulators
from tocsin.detectors.summary.definition import SECOND_US, Input, Reducer, Summary
from tocsin.detectors.summary.findings import words

KEY_BYTES = 20
"""What a key's number takes in the index."""

TIME_BYTES = 24
"""What is kept of a key that may be too much: first and last record, and how many."""

_MEASURED = 4096

WORDS = {
    "sum": "sum of {of}",
    "count": "number of records",
    "min": "least {of}",
    "max": "greatest {of}",
    "average": "mean of {of}",
    "variance": "variance of {of}",
    "std_dev": "standard deviation of {of}",
    "first_seen": "time of the first record",
    "last_seen": "time of the last record",
    "unique": "different values of {of}, exact up to {max:,}",
    "hll_unique": "different values of {of}, estimated: within {error:.1%} with {confidence:.0%} confidence",
    "quantile": "{q:.4g} quantile of {of}, within {error:.1%} of it",
    "topk": "the {shown} most frequent values of {of}; {size} are watched",
    "sample": "{size} of {of}, drawn at random",
    "last": "the last {size} of {of}",
    "regularity": "how evenly the records are spaced in time{in_size}, from 0 to 1",
}


def explain(summary: Summary) -> dict[str, list[str]]:
    """Return lines under headings."""
    return {
        "counts": list(_counted(summary)),
        "windows": [_windows(summary)],
        "rings": list(_rings(summary)),
        "memory": list(_memory(summary)),
    }


def reducer_words(reducer: Reducer, observe: str) -> str:
    """Say what a reducer gives."""
    of = reducer.of or observe
    by = reducer.options.get("by")
    told = WORDS[reducer.kind].format(of=of, in_size=f" and size ({by})" if by else "", **reducer.options)
    return f"{told} that have {of}" if reducer.kind == "count" and reducer.of else told


def early(summary: Summary) -> str:
    """Say when a key that is too much is told."""
    if summary.condition is None:
        return "never; only results"
    if summary.condition.growing is not None:
        return "with the record that makes it so, over however many workers"
    return f"when the window has ended and {_span(summary.lateness_us)} for late records are over"


def bytes_a_key(summary: Summary) -> int:
    """Return what a key takes before it has values, its text aside."""
    held = [each for stream in summary.inputs for each in accumulators(stream.reduce)]
    for each in held:
        each.grow(_MEASURED)
    states = sum(each.nbytes for each in held) // _MEASURED
    return KEY_BYTES + states + (TIME_BYTES if summary.condition else 0)


def _counted(summary: Summary) -> Iterator[str]:
    for stream in summary.inputs:
        yield f"{stream.kind} records{f' where {stream.where}' if stream.where else ''}"
        yield f"  for each {_key(stream)}; time: {stream.time}"
        for reducer in stream.reduce:
            yield f"  {reducer.name}: {reducer_words(reducer, stream.observe)}"


def _key(stream: Input) -> str:
    return ", ".join(f"{name} ({sql})" for name, sql in stream.key.items()) or "window, over all records"


def _windows(summary: Summary) -> str:
    if not summary.window_us:
        return "one, until it is told to end"
    step = f", one every {_span(summary.step_us)}" if summary.step_us != summary.window_us else ""
    begin = "at round times (UTC)" if summary.origin == "clock" else "with the first record"
    return (
        f"of {_span(summary.window_us)}{step}, beginning {begin}; late records count for {_span(summary.lateness_us)}"
    )


def _rings(summary: Summary) -> Iterator[str]:
    condition = summary.condition
    if condition is None:
        yield early(summary)
        return
    if summary.levels:
        levels = zip(summary.levels, summary.severities, strict=True)
        yield f"when {condition.sql} reaches " + ", ".join(f"{level:,.15g} ({severity})" for level, severity in levels)
    else:
        yield f"when {condition.sql} ({summary.severities[0]})"
    if summary.new_for_us:
        learned = f", after {_span(summary.learn_us)} of learning" if summary.learn_us else ""
        yield f"for keys that were in no window for {_span(summary.new_for_us)}{learned}"
    yield early(summary)
    yield f"as {summary.kind}{f', about {summary.entity}' if summary.entity else ''}: {summary.title}"


def _memory(summary: Summary) -> Iterator[str]:
    windows = summary.window_us // summary.step_us if summary.window_us else 1
    each = f" in each of {windows} open windows" if windows > 1 else ""
    yield f"about {bytes_a_key(summary)} bytes a key and its text{each}; what is kept of values comes to it"
    yield f"at most {summary.max_keys:,} keys and {summary.max_bytes >> 20} MiB a window and worker"


def _span(span_us: int) -> str:
    return words(span_us / SECOND_US, "min")
