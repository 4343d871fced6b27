"""What only the folder store does: temporary files, locks, the disk's own errors."""

import errno
import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.errors import ConflictError, StoreError
from tocsin.levels import TRACE
from tocsin.stores.folder import FolderStore
from tocsin.testing.clock import FakeClock


def test_what_a_kill_leaves_is_not_listed_and_swept_when_old(tmp_path: Path, clock: FakeClock) -> None:
    store = FolderStore(tmp_path, clock=clock)
    store.put("a/b", b"")
    young, old = tmp_path / "a" / ".tocsin-tmp-young", tmp_path / "a" / ".tocsin-tmp-old"
    for path, age in ((young, timedelta(minutes=1)), (old, timedelta(hours=2))):
        path.write_bytes(b"half")
        at = (clock.now() - age).timestamp()
        os.utime(path, (at, at))
    assert [info.path for info in store.list("")] == ["a/b"]
    assert young.exists()
    assert not old.exists()
    assert [info.path for info in FolderStore(tmp_path / "a", clock=clock).list("")] == ["b"]


def test_names_of_its_own_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the store's own"):
        FolderStore(tmp_path).put("a/.tocsin-tmp-1", b"")


def test_deleting_removes_empty_folders(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.put("a/b/c", b"")
    store.put("a/d", b"")
    store.delete("a/b/c")
    assert not (tmp_path / "store" / "a" / "b").exists()
    assert (tmp_path / "store" / "a" / "d").exists()
    store.delete("a/d")
    assert (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "the right to write"), (errno.EROFS, "mounted read-only")],
)
def test_a_failing_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    def fail(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    store = FolderStore(tmp_path)
    store.put("a", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=remedy):
        store.put("a", b"new")
    assert store.get("a").data == b"old"
    assert list(tmp_path.glob(".tocsin-tmp*")) == []
    assert store.counts["errors"] == 1


def test_create_only_holds_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    store = FolderStore(tmp_path)
    store.put("a", b"one", create=True)
    with pytest.raises(ConflictError):
        store.put("a", b"two", create=True)
    assert store.get("a").data == b"one"


@pytest.mark.parametrize("path", ["a/b", "d"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, path: str) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"")
    store.put("d/e", b"")
    with pytest.raises(StoreError, match="move it away"):
        store.put(path, b"")


def test_each_object_that_is_touched_is_traced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = FolderStore(tmp_path)
    store.put("a/b", b"12345")
    assert not [record for record in caplog.records if record.levelno <= TRACE]
    caplog.set_level(TRACE)
    store.put("a/b", b"1234")
    store.get("a/b")
    store.open("a/b").close()
    store.delete("a/b")
    traced = [record for record in caplog.records if record.name == "tocsin.stores.folder"]
    assert [record.getMessage() for record in traced] == ["wrote a/b", "read a/b", "opened a/b", "deleted a/b"]
    assert [getattr(record, "bytes", 4) for record in traced] == [4] * 4
