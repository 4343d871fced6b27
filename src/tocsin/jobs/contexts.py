"""Named contexts in one local folder: they learn, answer, and survive kill, restart and full disk.

What is acknowledged, that is learned and then committed, is in the journal; checkpoints bound how much of it a start
must replay. The folder's files are described in `segment.py` (journal) and `modelfiles.py` (checkpoints).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from tocsin.clock import Clock, SystemClock
from tocsin.detectors.novelty.feedback import Feedback
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Options
from tocsin.detectors.novelty.pattern import Part
from tocsin.detectors.novelty.portable import dump, load
from tocsin.detectors.novelty.scores import Scores
from tocsin.errors import ConflictError, InputError, ModelError, NotFoundError, SettingsError
from tocsin.jobs.archive import Archive
from tocsin.jobs.columns import as_texts, encode, payload
from tocsin.jobs.context import Context, ContextStatus, Rate, check_name
from tocsin.jobs.operations import apply, pattern_as_json
from tocsin.jobs.operations import encode as encode_change
from tocsin.jobs.replay import CHANGED, FORGETTING, OBSERVED, OBSERVED_AT, Load
from tocsin.jobs.retries import Answer, Retries, checked_key, digest_of
from tocsin.records.times import to_us

DURABILITIES = ("full", "fast")
CHECKPOINT_AFTER = Load(observations=1_000_000, frames=500_000, nbytes=128 << 20)


class Contexts:
    """Holds every context of a folder; one process at a time.

    Of one thread, all but `commit`. Nothing is acknowledged before `commit` has returned: it waits for what was
    observed and changed before the call, by whatever thread, and one sync serves all that wait. Reading never changes
    anything; of what is refused nothing is learned.

    durability: `full` syncs before it acknowledges: what was acknowledged survives SIGKILL, power cut and crash of the
    machine. `fast` hands over to the operating system only: SIGKILL loses nothing that was acknowledged, a power cut or
    a crash of the machine what the system had not written yet, on Linux usually that of the last half minute.
    """

    def __init__(
        self, archive: Archive, *, clock: Clock, defaults: Options, most_contexts: int, durability: str
    ) -> None:
        self.durability = durability
        self._archive = archive
        self._table = archive.table
        self._clock = clock
        self._defaults = defaults
        self._most = most_contexts

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock | None = None,
        durability: str = "full",
        defaults: Options | None = None,
        most_contexts: int = 10_000,
        checkpoint_after: Load = CHECKPOINT_AFTER,
        most_retries: int = 10_000,
        most_retry_bytes: int = 64 << 20,
    ) -> "Contexts":
        """Open a folder, made where it is not there, as the last process left it, however that ended.

        defaults: options of contexts that are created by their first use. checkpoint_after: what the journal may hold
        before a checkpoint begins; a start replays twice as much at most. most_retries, most_retry_bytes: answers that
        are kept for requests that are sent again. Raises StoreError when another process has the folder, or what is in
        it is damaged.
        """
        if durability not in DURABILITIES:
            raise SettingsError(f"durability: {durability!r} is neither of {', '.join(DURABILITIES)}")
        clock = clock or SystemClock()
        retries = Retries(most_retries, most_retry_bytes)
        archive = Archive(
            folder, clock=clock, durable=durability == "full", checkpoint_after=checkpoint_after, retries=retries
        )
        return cls(
            archive, clock=clock, defaults=defaults or Options(), most_contexts=most_contexts, durability=durability
        )

    def close(self) -> None:
        """Write a checkpoint of what changed, and let the folder go. Raises StoreError when the journal failed."""
        self._archive.close()

    def checkpoint(self, *, wait: bool = False) -> None:
        """Begin a checkpoint: copies of what changed are written by a thread. Raises StoreError.

        wait: return when it is written. It begins by itself often enough; what needs it is a backup of the folder.
        """
        self._archive.checkpoint()
        if wait:
            self._archive.wait()

    def commit(self) -> None:
        """Return when all that was observed and changed before the call is safe; of any thread. Raises StoreError."""
        self._archive.commit()

    # Looking

    def names(self) -> list[str]:
        """Return the names of all contexts, sorted."""
        return sorted(self._table.names)

    def status(self, name: str) -> ContextStatus:
        """Return what is known of a context. Raises NotFoundError."""
        return self._context(name).status(self._clock.monotonic())

    def model(self, name: str) -> NoveltyModel:
        """Return a context's model, to be read only. Raises NotFoundError."""
        return self._context(name).model

    def read(self, name: str, columns: Sequence[Any]) -> Scores:
        """Score observations, and learn nothing. Raises NotFoundError, InputError."""
        return self._context(name).model.score(as_texts(columns))

    def export(self, name: str) -> bytes:
        """Return a context as one portable file. Raises NotFoundError."""
        return dump(self._context(name).model)

    # Learning

    def observe(
        self, name: str, columns: Sequence[Any], key: str | None = None, *, time_us: int | np.ndarray | None = None
    ) -> Scores:
        """Learn observations, in order, and return their scores; the first use of a name creates its context.

        columns: L arrays of n strings. key: of the request; sent again with the same observations it is answered as
        before and counts once. time_us: when, one time or (n,) int64, microseconds since 1970; now, when not given.
        Raises InputError, or StoreError when the disk is full or failed before; nothing was learned then.
        """
        texts = as_texts(columns)
        context = self._table.names.get(name)
        known = context is not None
        context = context or self._new(name, self._defaults)
        content, key_bytes = encode(texts), checked_key(key)
        if key_bytes and (earlier := self._archive.retries.find(context.number, key_bytes, content)):
            return earlier
        times = to_us(self._clock.now()) if time_us is None else time_us
        frame = payload(content, len(texts[0]), len(texts), times, key_bytes)
        kind = OBSERVED_AT if isinstance(times, np.ndarray) else OBSERVED
        if not known:
            kind, frame = CHANGED, _creation(context, kind, frame)
        self._archive.reserve(len(frame))
        with context.learning():
            scores = context.model.observe(texts, times)
        if not known:
            self._table.add(context)
        self._archive.append(kind, context, frame, len(scores))
        context.learned(len(scores), times, self._clock.monotonic())
        if key_bytes:
            self._archive.retries.keep(Answer(context.number, key_bytes, digest_of(content), scores))
        self._archive.bound()
        return scores

    # Changing

    def create(self, name: str, options: Options | None = None) -> None:
        """Create a context. Raises InputError, ConflictError when there is one of this name."""
        if name in self._table.names:
            raise ConflictError(f"there is a context {name!r} already; delete it first, or choose another name")
        context = self._new(name, options or self._defaults)
        self._appended(context, _creation(context))
        self._table.add(context)

    def delete(self, name: str) -> None:
        """Delete a context with all that it learned. Raises NotFoundError, StoreError."""
        context = self._context(name)
        self._appended(context, encode_change({"do": "delete"}))
        self._table.remove(context)
        self._archive.retries.drop(context.number)

    def reset(self, name: str) -> None:
        """Let a context forget all, feedback too; its name and options stay. Raises NotFoundError, StoreError."""
        self._change(name, {"do": "reset"})

    def reset_all(self) -> None:
        """Reset every context. Raises StoreError."""
        for name in self.names():
            self.reset(name)

    def forget(self, name: str, pattern: Sequence[Part]) -> int:
        """Forget observations of a kind and return how many. Raises NotFoundError, InputError, StoreError."""
        return int(self._change(name, {"do": "forget", "pattern": pattern_as_json(pattern)}))

    def merge(self, name: str, other: NoveltyModel) -> None:
        """Add to a context what another model learned. Raises NotFoundError, InputError, StoreError."""
        if other is self.model(name):
            raise InputError(f"{name!r} cannot be merged with itself")
        self._change(name, {"do": "merge"}, dump(other), other)

    def import_(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Make a context of what `export` returned; replace: also where there is one of this name.

        Raises InputError when the file is none, ConflictError when there is such a context, StoreError.
        """
        check_name(name)
        try:
            model = load(data)
        except ModelError as error:
            raise InputError(f"this cannot be imported: {error}") from error
        if name not in self._table.names:
            context = self._new(name, model.options)
            context.model = model
            head = {"do": "import", "name": name, "at_us": context.created_us}
            self._appended(context, encode_change(head, data))
            self._table.add(context)
        elif replace:
            self._change(name, {"do": "import"}, data, model)
        else:
            raise ConflictError(f"there is a context {name!r} already; replace it, or choose another name")

    def feedback(
        self,
        name: str,
        pattern: Sequence[str | None],
        strength: float = 0.9,
        *,
        id: str | None = None,
        by: str = "",
        note: str = "",
    ) -> Feedback:
        """Call a kind of observation normal; undo by its id. Raises NotFoundError, InputError, StoreError."""
        told = {"id": id or uuid4().hex, "at_us": to_us(self._clock.now()), "by": by, "note": note}
        head = {"do": "feedback", "pattern": list(pattern), "strength": strength, **told}
        found: Feedback = self._change(name, head)
        return found

    def undo(self, name: str, id: str) -> Any:
        """Take a feedback back. Raises NotFoundError, StoreError."""
        return self._change(name, {"do": "undo", "id": id})

    def _context(self, name: str) -> Context:
        context = self._table.names.get(name)
        if context is None:
            check_name(name)
            raise NotFoundError(f"there is no context {name!r}; the first observation creates it")
        context.check()
        return context

    def _new(self, name: str, options: Options) -> Context:
        check_name(name)
        if len(self._table.names) >= self._most:
            raise InputError(
                f"no context {name!r} was created: there are {self._most} already, the most that are allowed; "
                "delete one, or allow more"
            )
        now_us, rate = to_us(self._clock.now()), Rate(self._clock.monotonic())
        return Context(self._table.next_number, name, NoveltyModel(options), rate, now_us)

    def _change(self, name: str, head: dict[str, Any], body: bytes = b"", other: NoveltyModel | None = None) -> Any:
        context = self._context(name)
        data = encode_change(head, body)
        self._archive.reserve(len(data))
        with context.learning():
            result = apply(context, head, body, other)
        self._archive.append(CHANGED, context, data)
        if head["do"] in FORGETTING:
            self._archive.retries.drop(context.number)
        self._archive.bound()
        return result

    def _appended(self, context: Context, data: bytes) -> None:
        self._archive.reserve(len(data))
        self._archive.append(CHANGED, context, data)
        self._archive.bound()


def _creation(context: Context, kind: int = 0, observed: bytes = b"") -> bytes:
    """Return a context's creation, together with its first observations where these create it: both count, or none."""
    options = context.model.options.as_dict()
    head = {"do": "create", "name": context.name, "at_us": context.created_us, "options": options, "kind": kind}
    return encode_change(head, observed)
