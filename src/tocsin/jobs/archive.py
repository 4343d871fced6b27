"""What keeps contexts on disk: the journal that everything is appended to, and checkpoints that bound its replay."""

import logging
import threading
from pathlib import Path

from tocsin.clock import Clock
from tocsin.errors import StoreError
from tocsin.jobs.context import Context, Rate, Table
from tocsin.jobs.journal import Journal
from tocsin.jobs.modelfiles import Manifest, Snapshot, read_answers, read_manifest, read_model, sweep, write
from tocsin.jobs.ownership import Ownership
from tocsin.jobs.replay import Load, Replay, segments_of
from tocsin.jobs.retries import Retries

log = logging.getLogger(__name__)


class Archive:
    """Opens a folder as the last process left it, keeps what is appended, and writes checkpoints beside it.

    Of one thread, but for `commit`. checkpoint_after: what the journal may hold before a checkpoint begins. While it is
    written as much again may come; then `append` waits for it. Raises StoreError when another process has the folder,
    or what is in it is damaged.
    """

    def __init__(self, folder: Path, *, clock: Clock, durable: bool, checkpoint_after: Load, retries: Retries) -> None:
        self.table = Table()
        self.retries = retries
        self._folder = folder
        self._clock = clock
        self._limit = self._usual_limit = checkpoint_after
        self._load = self._at_stake = Load()
        self._manifest = Manifest()
        self._thread: threading.Thread | None = None
        self._outcome: Manifest | StoreError | None = None
        self._marks: dict[int, int] = {}
        self._owner = Ownership(folder)
        try:
            self._journal = self._begin(durable)
        except BaseException:
            self._owner.release()
            raise

    def reserve(self, payload_bytes: int, frames: int = 1) -> None:
        """Make sure that so much can be appended. Raises StoreError when the disk is full or the journal failed."""
        self._journal.reserve(payload_bytes, frames)

    def append(self, kind: int, context: Context, payload: bytes, observations: int = 0) -> None:
        """Append what a context learned, for which room was reserved."""
        self._journal.append(kind, context.number, payload)
        self._load.add(observations, len(payload))

    def bound(self) -> None:
        """Begin a checkpoint when the journal holds enough; wait for one that is too slow."""
        if self._thread is None:
            if self._load.exceeds(self._limit):
                self._try_checkpoint()
        elif self._outcome is not None or self._load.exceeds(self._limit):
            self._collect()

    def commit(self) -> None:
        """Return when all that was appended before the call is safe, in any thread. Raises StoreError."""
        self._journal.commit()

    def checkpoint(self) -> None:
        """Begin a checkpoint of what changed; one that is being written is waited for. Raises StoreError."""
        self._collect()
        for context in self.table.names.values():
            context.check()
        first = self._journal.rotate()
        contexts = list(self.table.numbers.values())
        states = {each.number: each.model.state() for each in contexts if each.changes > each.saved_changes}
        self._marks = {each.number: each.changes for each in contexts}
        manifest = Manifest(
            checkpoint=self._manifest.checkpoint + 1,
            first_segment=first,
            next_context=self.table.next_number,
            contexts=[each.document() for each in contexts],
        )
        self._at_stake, self._load = self._load, Load()
        snapshot = Snapshot(manifest, states, tuple(self.retries))
        self._thread = threading.Thread(target=self._write, args=(snapshot,), name="novelty-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait for the checkpoint that is being written. Raises StoreError when it failed."""
        failure = self._collect()
        if failure:
            raise failure

    def close(self) -> None:
        """Write a checkpoint of what changed, and let the folder go. Raises StoreError when the journal failed."""
        if not self._owner.is_held:
            return
        try:
            self._collect()
            if self._load.frames:
                self._try_checkpoint()
                self._collect()
            self._journal.close()
        finally:
            self._owner.release()

    def _begin(self, durable: bool) -> Journal:
        begun = read_manifest(self._folder)
        self._manifest = manifest = begun or Manifest()
        segments = segments_of(self._folder, manifest.first_segment, begun=begun is not None)
        self.table.next_number = manifest.next_context
        for document in manifest.contexts:
            self.table.add(self._restored(document))
        for answer in read_answers(self._folder, manifest.retries):
            self.retries.keep(answer)
        replay = Replay(self.table, self.retries, self._clock)
        replay.run(segments)
        self._load = replay.load
        sweep(self._folder, manifest)
        level = logging.INFO if self._load.observations else logging.DEBUG  # of one that was closed there is no news
        log.log(level, "opened %s: %d contexts, %d observations replayed", *self._told())
        number = manifest.first_segment
        if segments:
            number = segments[-1].number + (0 if segments[-1].is_empty else 1)
        return Journal(self._folder, number, durable=durable)

    def _told(self) -> tuple[Path, int, int]:
        return self._folder, len(self.table.names), self._load.observations

    def _restored(self, document: dict[str, object]) -> Context:
        rest = {name: document[name] for name in ("number", "name", "created_us", "last_us", "file")}
        model = read_model(self._folder, rest["file"])  # type: ignore[arg-type]
        return Context(**rest, model=model, rate=Rate(self._clock.monotonic()), saved_changes=1)  # type: ignore[arg-type]

    def _write(self, snapshot: Snapshot) -> None:
        try:
            self._journal.commit()
            self._outcome = write(self._folder, snapshot)
        except StoreError as error:
            self._outcome = error

    def _try_checkpoint(self) -> None:
        try:
            self.checkpoint()
        except StoreError as error:
            self._postpone(error)

    def _collect(self) -> StoreError | None:
        """Wait for a checkpoint that is being written, note what came of it, and return its error."""
        if self._thread is None:
            return None
        self._thread.join()
        outcome, self._thread, self._outcome = self._outcome, None, None
        if isinstance(outcome, Manifest):
            self._manifest, self._limit = outcome, self._usual_limit
            for document in outcome.contexts:
                if context := self.table.numbers.get(document["number"]):
                    context.file, context.saved_changes = document["file"], self._marks[context.number]
            return None
        failure = outcome or StoreError(f"the checkpoint of {self._folder} broke off; its thread's error was logged")
        self._load = self._load.plus(self._at_stake)
        self._postpone(failure)
        return failure

    def _postpone(self, error: StoreError) -> None:
        """Try again when the journal is half as large again: a start takes longer meanwhile, nothing is lost."""
        self._limit = self._load.grown()
        log.error("%s", error)
