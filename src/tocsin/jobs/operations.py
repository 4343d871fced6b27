"""What else than observing changes a context, as values that a journal keeps and a replay does again.

payload   length of the head, uint32, little-endian · head, a JSON object whose `do` names the operation · body: a
          model, as one portable file
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.pattern import Part, Range
from tocsin.detectors.novelty.portable import load
from tocsin.jobs.context import Context

Head = dict[str, Any]


def encode(head: Head, body: bytes = b"") -> bytes:
    """Return an operation as it is kept."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "little") + text + body


def decode(payload: memoryview) -> tuple[Head, memoryview]:
    """Return an operation's head and body. Raises ValueError."""
    begin = 4 + int.from_bytes(payload[:4], "little")
    head = json.loads(bytes(payload[4:begin]))
    if not isinstance(head, dict) or "do" not in head:
        raise ValueError("an operation says what to do")
    return head, payload[begin:]


def apply(context: Context, head: Head, body: bytes | memoryview = b"", other: NoveltyModel | None = None) -> Any:
    """Change a context, and return what its model answers. other: the model in the body, where it is at hand.

    Raises InputError, having changed nothing, when it cannot be done.
    """
    result = _DO[head["do"]](context, head, other or (load(bytes(body)) if len(body) else None))
    context.changes += 1
    return result


def pattern_as_json(pattern: Sequence[Part]) -> list[Any]:
    """Return a pattern as JSON values."""
    return [{"low": part.low, "high": part.high} if isinstance(part, Range) else part for part in pattern]


def _pattern(parts: list[Any]) -> list[Part]:
    return [Range(part["low"], part["high"]) if isinstance(part, dict) else part for part in parts]


def _reset(context: Context, head: Head, other: NoveltyModel | None) -> None:
    context.model = NoveltyModel(context.model.options)


def _replace(context: Context, head: Head, other: NoveltyModel | None) -> None:
    assert other is not None
    context.model = other


def _configure(context: Context, head: Head, other: NoveltyModel | None) -> None:
    context.model = NoveltyModel(Options.of(head["options"]))


def _merge(context: Context, head: Head, other: NoveltyModel | None) -> None:
    assert other is not None
    context.model.merge(other)


def _forget(context: Context, head: Head, other: NoveltyModel | None) -> int:
    return context.model.forget(_pattern(head["pattern"]))


def _feedback(context: Context, head: Head, other: NoveltyModel | None) -> Any:
    told = {name: head[name] for name in ("id", "at_us", "by", "note")}
    return context.model.feedback(head["pattern"], head["strength"], **told)


def _undo(context: Context, head: Head, other: NoveltyModel | None) -> Any:
    return context.model.undo(head["id"])


_DO: dict[str, Callable[[Context, Head, NoveltyModel | None], Any]] = {
    "create": _configure,
    "reset": _reset,
    "import": _replace,
    "merge": _merge,
    "forget": _forget,
    "feedback": _feedback,
    "undo": _undo,
}
