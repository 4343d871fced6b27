"""Contexts in a folder: what is kept over a restart, what is refused, what is never learned."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.options import Bins, Options
from tocsin.detectors.novelty.pattern import Range
from tocsin.errors import ConflictError, InputError, NotFoundError, SettingsError, StoreError
from tocsin.jobs.columns import Gathered
from tocsin.jobs.contexts import Contexts
from tocsin.jobs.journal import Journal
from tocsin.jobs.modelfiles import MANIFEST, read_manifest
from tocsin.jobs.replay import OBSERVED, Load, segments_of
from tocsin.jobs.segment import HEAD_BYTES, path_of
from tocsin.testing.clock import FakeClock
from tocsin.testing.observations import observations as rows
from tocsin.testing.observations import same_scores as equal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "novelty"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def contexts(folder: Path, clock: FakeClock) -> Iterator[Contexts]:
    opened = Contexts.open(folder, clock=clock)
    yield opened
    opened.close()


def probe() -> list[pa.Array]:
    return rows(5000, 5020)


def killed(contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock) -> Contexts:
    """Return what a start finds after the process that has these contexts was killed now."""
    contexts.commit()
    copy = tmp_path / f"killed-{len(list(tmp_path.iterdir()))}"
    shutil.copytree(folder, copy)
    return Contexts.open(copy, clock=clock)


def test_the_first_use_creates_a_context_and_a_model_of_its_own(contexts: Contexts):
    first = contexts.observe("a", rows(0, 50))
    contexts.observe("b", rows(50, 60))
    alone = NoveltyModel().observe(rows(0, 50), 0)
    assert equal(first, alone)
    assert contexts.names() == ["a", "b"]
    assert contexts.model("b").observed == 10


def test_reading_changes_nothing(contexts: Contexts):
    contexts.observe("a", rows(0, 50))
    first = contexts.read("a", rows(50, 60))
    assert equal(contexts.read("a", rows(50, 60)), first)
    assert contexts.model("a").observed == 50
    assert set(first.sequence.tolist()) == {50}


@pytest.mark.parametrize("operation", ["status", "model", "export", "reset", "delete"])
def test_a_context_that_is_not_there_is_not_found(contexts: Contexts, operation: str):
    with pytest.raises(NotFoundError, match="no context 'nobody'"):
        getattr(contexts, operation)("nobody")


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "-x", "ä", "a b", "a" * 65, "a\n"])
def test_a_bad_name_is_refused_with_the_rule(contexts: Contexts, name: str):
    for refused in (lambda: contexts.observe(name, rows(0, 1)), lambda: contexts.status(name)):
        with pytest.raises(InputError, match="1 to 64 letters"):
            refused()
    assert contexts.names() == []


def test_names_that_differ_by_case_are_two_contexts(contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock):
    for name, stop in (("Logins", 3), ("logins", 5), ("con.", 7), ("9", 9)):
        contexts.observe(name, rows(0, stop))
    contexts.checkpoint(wait=True)
    again = killed(contexts, folder, tmp_path, clock)
    assert [(name, again.model(name).observed) for name in again.names()] == [
        ("9", 9),
        ("Logins", 3),
        ("con.", 7),
        ("logins", 5),
    ]
    again.close()
    names = [path.name.lower() for path in folder.iterdir()]
    assert len(set(names)) == len(names)


def test_of_a_refused_request_nothing_is_learned(contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock):
    contexts.observe("a", rows(0, 20))
    before = contexts.read("a", probe())
    for refused in (
        lambda: contexts.observe("a", rows(0, 5)[:2]),
        lambda: contexts.observe("a", [pa.array(["x"]), pa.array(["x", "y"]), pa.array(["z"])]),
        lambda: contexts.observe("a", []),
        lambda: contexts.observe("a", rows(0, 5), key=""),
        lambda: contexts.observe("a", rows(0, 5), key="k" * 256),
        lambda: contexts.forget("a", [None, None, None]),
        lambda: contexts.forget("a", ["tcp"]),
        lambda: contexts.feedback("a", ["tcp"]),
        lambda: contexts.feedback("a", ["tcp", None, None], strength=2),
        lambda: contexts.undo("a", "nothing"),
        lambda: contexts.merge("a", _learned(2)),
        lambda: contexts.merge("a", contexts.model("a")),
        lambda: contexts.observe("new", []),
    ):
        with pytest.raises(InputError):
            refused()
    for again in (contexts, killed(contexts, folder, tmp_path, clock)):
        assert again.names() == ["a"]
        assert again.model("a").observed == 20
        assert equal(again.read("a", probe()), before)
    again.close()


def _learned(length: int) -> NoveltyModel:
    model = NoveltyModel()
    model.observe(rows(0, 10)[:length], 0)
    return model


def test_there_are_so_many_contexts_at_most(folder: Path):
    contexts = Contexts.open(folder, most_contexts=2)
    contexts.observe("a", rows(0, 1))
    contexts.create("b")
    for refused in (
        lambda: contexts.observe("c", rows(0, 1)),
        lambda: contexts.create("c"),
        lambda: contexts.import_("c", contexts.export("a")),
    ):
        with pytest.raises(InputError, match="there are 2 already"):
            refused()
    contexts.delete("b")
    contexts.observe("c", rows(0, 1))
    contexts.close()


def test_everything_that_was_done_survives_a_kill(contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock):
    contexts.create("made", Options(order="auto", fields=("proto", "port", "service"), warm_up=7))
    contexts.create("fading", Options(half_life_s=60.0))
    contexts.create("binned", Options(bins={"1": Bins(quantiles=4)}))
    for start in range(0, 300, 30):
        for name in ("made", "fading", "binned", "plain"):
            contexts.observe(name, rows(start, start + 30))
        contexts.observe("fading", rows(start, start + 5), time_us=1_000_000 * np.arange(start, start + 5))
        clock.advance(7.5)
    contexts.feedback("made", ["tcp", None, None], 0.5, id="f1", by="ana", note="backup")
    contexts.feedback("plain", ["udp", None, None], id="f2")
    contexts.undo("plain", "f2")
    assert contexts.forget("plain", [None, Range("100", "400"), None]) > 0
    contexts.merge("plain", _learned(3))
    contexts.import_("copy", contexts.export("made"))
    contexts.import_("fading-copy", contexts.export("fading"))
    contexts.import_("copy", contexts.export("plain"), replace=True)
    contexts.observe("gone", rows(0, 10))
    contexts.delete("gone")
    contexts.observe("empty", rows(0, 10))
    contexts.reset("empty")
    for name in contexts.names():
        contexts.observe(name, rows(300, 330))
    after_kill = killed(contexts, folder, tmp_path, clock)
    contexts.checkpoint(wait=True)
    after_checkpoint = killed(contexts, folder, tmp_path, clock)
    for again in (after_kill, after_checkpoint):
        _same(contexts, again)
    for name in contexts.names():
        expected = contexts.observe(name, rows(330, 400))
        assert equal(after_kill.observe(name, rows(330, 400)), expected)
        assert equal(after_checkpoint.observe(name, rows(330, 400)), expected)
    after_kill.close()
    after_checkpoint.close()


def _same(one: Contexts, other: Contexts) -> None:
    assert one.names() == other.names()
    for name in one.names():
        mine, theirs = vars(one.status(name)), vars(other.status(name))
        # Of this process; what weighs nothing any more is in memory, not on disk.
        for told in ("nbytes", "rate_per_s", "entries"):
            del mine[told], theirs[told]
        assert mine == theirs
        assert equal(one.read(name, probe()), other.read(name, probe()))
        assert one.model(name).feedbacks == other.model(name).feedbacks
        histograms = [each.model(name).histogram()[1].tolist() for each in (one, other)]
        assert histograms[0] == histograms[1]


def test_a_retry_counts_once_and_has_the_first_answer(
    contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock
):
    contexts.observe("a", rows(0, 50))
    first = contexts.observe("a", rows(50, 60), key="k1")
    single = contexts.observe("a", rows(60, 61), key="k2")
    contexts.observe("b", rows(0, 3), key="k1")
    before = contexts.read("a", probe())
    after_kill = killed(contexts, folder, tmp_path, clock)
    contexts.checkpoint(wait=True)
    after_checkpoint = killed(contexts, folder, tmp_path, clock)
    for each in (contexts, after_kill, after_checkpoint):
        assert equal(each.observe("a", rows(50, 60), key="k1"), first)
        assert equal(each.observe("a", rows(60, 61), key="k2"), single)
        assert each.observe("a", rows(50, 60), key="k1").columns == first.columns
        with pytest.raises(InputError, match="'k1' was used for other observations"):
            each.observe("a", rows(50, 59), key="k1")
        assert each.model("a").observed == 61
        assert equal(each.read("a", probe()), before)
    after_kill.close()
    after_checkpoint.close()


@pytest.mark.parametrize("operation", ["reset", "delete"])
def test_a_key_of_what_was_forgotten_is_forgotten(
    contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock, operation: str
):
    contexts.observe("a", rows(0, 10), key="k")
    getattr(contexts, operation)("a")
    again = killed(contexts, folder, tmp_path, clock)
    for each in (contexts, again):
        each.observe("a", rows(0, 10), key="k")
        assert each.model("a").observed == 10
    again.close()


def test_only_so_many_answers_are_kept(folder: Path):
    contexts = Contexts.open(folder, most_retries=2)
    for number in range(3):
        contexts.observe("a", rows(0, 1), key=str(number))
    contexts.observe("a", rows(0, 1), key="2")
    contexts.observe("a", rows(0, 1), key="1")
    assert contexts.model("a").observed == 3
    contexts.observe("a", rows(0, 1), key="0")
    assert contexts.model("a").observed == 4
    contexts.close()


def test_status_tells_rate_and_times(contexts: Contexts, clock: FakeClock):
    begun = clock.now()
    contexts.create("a", Options(fields=("proto", "port", "service"), warm_up=10))
    assert contexts.status("a").last_observed is None
    for _ in range(30):
        clock.advance(1)
        contexts.observe("a", rows(0, 6))
    status = contexts.status("a")
    assert (status.observed, status.length, status.warm, status.order) == (180, 3, True, "given")
    assert status.fields == ("proto", "port", "service")
    assert (status.created, status.last_observed) == (begun, clock.now())
    assert status.rate_per_s == pytest.approx(6, rel=0.05)
    clock.advance(45)
    assert contexts.status("a").rate_per_s == pytest.approx(1.5, rel=0.1)
    clock.advance(60)
    assert contexts.status("a").rate_per_s == 0
    assert status.nbytes > 0 < status.entries


def test_a_name_that_is_taken_is_a_conflict(contexts: Contexts):
    contexts.create("a")
    for refused in (lambda: contexts.create("a"), lambda: contexts.import_("a", contexts.export("a"))):
        with pytest.raises(ConflictError, match="'a' already"):
            refused()


def test_reset_all_keeps_names_and_options(contexts: Contexts):
    contexts.create("a", Options(warm_up=5))
    contexts.observe("a", rows(0, 10))
    contexts.observe("b", rows(0, 10))
    contexts.reset_all()
    assert [contexts.status(name).observed for name in contexts.names()] == [0, 0]
    assert contexts.status("a").options.warm_up == 5


def test_a_second_process_is_told_who_has_the_folder(contexts: Contexts, folder: Path):
    with pytest.raises(StoreError, match=rf"in use by process {os.getpid()}; stop that one"):
        Contexts.open(folder)


def test_a_closed_folder_is_free_again(folder: Path):
    for turn in range(3):
        contexts = Contexts.open(folder)
        contexts.observe("a", rows(0, 1))
        assert contexts.model("a").observed == turn + 1
        contexts.close()


def test_closing_twice_is_closing_once(folder: Path):
    contexts = Contexts.open(folder)
    contexts.close()
    contexts.close()


def test_an_unknown_durability_is_refused(folder: Path):
    with pytest.raises(SettingsError, match="full, fast"):
        Contexts.open(folder, durability="none")


def test_fast_loses_nothing_by_a_kill(folder: Path, tmp_path: Path, clock: FakeClock):
    contexts = Contexts.open(folder, clock=clock, durability="fast")
    contexts.observe("a", rows(0, 10))
    again = killed(contexts, folder, tmp_path, clock)
    assert again.model("a").observed == 10
    contexts.close()
    again.close()


# Checkpoints


def test_checkpoints_bound_the_journal_by_themselves(folder: Path, clock: FakeClock):
    after = Load(observations=100, frames=1000, nbytes=1 << 20)
    contexts = Contexts.open(folder, clock=clock, checkpoint_after=after)
    model = NoveltyModel()
    for start in range(0, 500, 10):
        expected = model.observe(rows(start, start + 10), 0)
        assert equal(contexts.observe("a", rows(start, start + 10)), expected)
        contexts.commit()
        assert _replayed(folder) <= 200
    assert json.loads((folder / MANIFEST).read_bytes())["manifest"]["checkpoint"] >= 2
    contexts.close()
    assert sorted(path.suffix for path in folder.iterdir()) == ["", ".json", ".log", ".model"]


def _replayed(folder: Path) -> int:
    """Observations that a start now would have to replay."""
    manifest = read_manifest(folder)
    gathered = Gathered()
    first = manifest.first_segment if manifest else 1
    for segment in segments_of(folder, first, begun=manifest is not None):
        for frame in segment.frames():
            if frame.kind == OBSERVED:
                gathered.add(frame.payload, has_times=False)
    return gathered.rows


def test_a_checkpoint_rewrites_only_what_changed(contexts: Contexts, folder: Path):
    contexts.observe("a", rows(0, 10))
    contexts.observe("b", rows(0, 10))
    contexts.checkpoint(wait=True)
    before = {path.name for path in folder.glob("*.model")}
    contexts.observe("b", rows(0, 10))
    contexts.checkpoint(wait=True)
    assert before == {"context-1-1.model", "context-2-1.model"}
    assert {path.name for path in folder.glob("*.model")} == {"context-1-1.model", "context-2-2.model"}


@pytest.mark.parametrize("left", ["context-1-9.model", "context-1-1.tmp", "manifest.tmp", "journal-00000000.log"])
def test_what_a_killed_checkpoint_left_is_removed(folder: Path, left: str):
    contexts = Contexts.open(folder)
    contexts.observe("a", rows(0, 10))
    contexts.close()
    (folder / left).write_bytes(b"half")
    contexts = Contexts.open(folder)
    assert not (folder / left).exists()
    assert contexts.model("a").observed == 10
    contexts.close()


def test_a_checkpoint_that_fails_loses_nothing(folder: Path, clock: FakeClock, tmp_path: Path):
    after = Load(observations=50, frames=1000, nbytes=1 << 20)
    contexts = Contexts.open(folder, clock=clock, checkpoint_after=after)
    blocked = folder / "context-1-1.tmp"
    blocked.mkdir()  # where the file would be written
    for start in range(0, 200, 10):
        contexts.observe("a", rows(start, start + 10))
        contexts.commit()
    with pytest.raises(StoreError, match=r"cannot write a checkpoint .* Nothing is lost"):
        contexts.checkpoint(wait=True)
    blocked.rmdir()
    again = killed(contexts, folder, tmp_path, clock)
    assert again.model("a").observed == 200
    again.close()
    contexts.checkpoint(wait=True)
    contexts.close()


# Damage


def test_damage_of_a_checkpoint_names_the_file(folder: Path):
    contexts = Contexts.open(folder)
    contexts.observe("a", rows(0, 10), key="k")
    contexts.close()
    for name in ("context-1-1.model", "answers-1.model", MANIFEST):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(StoreError, match=rf"{name} is damaged.*backup"):
            Contexts.open(folder)
        (folder / name).write_bytes(whole)
    Contexts.open(folder).close()


def test_a_journal_that_is_missing_is_named(folder: Path):
    contexts = Contexts.open(folder)
    contexts.observe("a", rows(0, 10))
    contexts.close()
    path_of(folder, 2).unlink()
    with pytest.raises(StoreError, match=r"journal-00000002.log is missing"):
        Contexts.open(folder)


def test_a_hole_between_two_journals_is_damage(contexts: Contexts, folder: Path, tmp_path: Path, clock: FakeClock):
    contexts.observe("a", rows(0, 10))
    again = killed(contexts, folder, tmp_path, clock)
    again.observe("a", rows(10, 20))
    again.commit()
    copy = tmp_path / "copy"
    shutil.copytree(next(tmp_path.glob("killed-*")), copy)
    again.close()
    path = path_of(copy, 1)
    whole = path.read_bytes()
    # What the disk confirmed of it was not noted, and its end is gone.
    path.write_bytes(whole[:32] + bytes(32) + whole[HEAD_BYTES:-5])
    with pytest.raises(StoreError, match=r"journal-00000001.log is damaged at byte 64: journal-00000002.log goes on"):
        Contexts.open(copy, clock=clock)


def test_contexts_without_their_manifest_are_not_thrown_away(folder: Path):
    contexts = Contexts.open(folder)
    contexts.observe("a", rows(0, 10))
    contexts.close()
    (folder / MANIFEST).unlink()
    with pytest.raises(StoreError, match=r"manifest.json is missing"):
        Contexts.open(folder)
    path_of(folder, 2).unlink()
    with pytest.raises(StoreError, match=r"manifest.json is missing"):
        Contexts.open(folder)
    assert (folder / "context-1-1.model").exists()


def test_what_is_no_context_is_not_imported(contexts: Contexts):
    with pytest.raises(InputError, match="cannot be imported"):
        contexts.import_("a", b"nothing of the kind")
    assert contexts.names() == []


def test_damage_in_the_journal_is_named_and_can_be_salvaged(folder: Path, tmp_path: Path, clock: FakeClock):
    contexts = Contexts.open(folder, clock=clock)
    sizes = []
    for start in range(0, 50, 10):
        contexts.observe("a", rows(start, start + 10))
        contexts.commit()
        sizes.append(len(path_of(folder, 1).read_bytes().rstrip(b"\0")))
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    contexts.close()
    path = path_of(copy, 1)
    damaged = bytearray(path.read_bytes())
    damaged[sizes[2] + 30] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"journal-00000001.log is damaged at byte"):
        Contexts.open(copy, clock=clock)
    path.rename(path.with_suffix(".salvage"))
    for _ in range(2):
        salvaged = Contexts.open(copy, clock=clock)
        assert salvaged.model("a").observed == 30
        salvaged.close()
    assert path.with_suffix(".damaged").read_bytes() == damaged


def test_a_frame_of_a_newer_version_is_refused(tmp_path: Path):
    (tmp_path / "other").mkdir()
    journal = Journal(tmp_path / "other", 1)
    journal.reserve(0)
    journal.append(99, 1, b"")
    journal.close()
    with pytest.raises(StoreError, match=rf"damaged at byte {HEAD_BYTES}: .*newer tocsin"):
        Contexts.open(tmp_path / "other")
