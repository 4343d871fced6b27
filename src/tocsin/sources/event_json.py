"""JSON lines of any make as events."""

from tocsin.records.logs import EVENT_TIMES, LogRows, event_time
from tocsin.sources.jsonlines import read_json_lines
from tocsin.sources.lines import Taken, take


def take_events(data: bytes) -> Taken:
    """Return lines as events: `ts` is the time, nested fields are flattened by dots, lists are text."""
    columns, numbers, wrong = read_json_lines(data, flatten=None)
    rows = LogRows(len(numbers))
    times = {name: columns[name].text for name in EVENT_TIMES if name in columns}
    rows.columns["ts"] = event_time(times, rows.count)
    for name, column in columns.items():
        if name != "ts" and column.guess != "null":
            rows.add(name, column.values, column.guess)
    rows.require_time("ts", why=f"no time ({', '.join(EVENT_TIMES)})")
    return take(rows, numbers, wrong)
