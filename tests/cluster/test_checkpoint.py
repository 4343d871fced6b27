"""Checkpoints: what is saved is loaded, all or nothing; what does not fit is refused."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.cluster.checkpoint import Checkpoint, load, save
from tocsin.cluster.wire import frame, to_bytes
from tocsin.errors import ModelError
from tocsin.stores.folder import FolderStore
from tocsin.testing.store import MemoryStore

AT = "default/watch/checkpoint"
MORE = {"next": datetime(2025, 1, 1, tzinfo=UTC)}
ONE = Checkpoint({"conn.log": {"offset": 12, "inode": 7}}, b"state" * 1000, "digest", {"out.jsonl": 99}, MORE)

documents = st.dictionaries(st.text(max_size=9), st.integers(-(2**62), 2**62) | st.text(max_size=9), max_size=4)


@given(st.builds(Checkpoint, documents, st.binary(max_size=500), st.text(), documents, documents))
def test_a_checkpoint_comes_back(checkpoint):
    store = MemoryStore()
    save(store, AT, checkpoint)
    assert load(store, AT, settings=checkpoint.settings) == checkpoint


def test_a_file_holds_one_checkpoint(tmp_path):
    store = FolderStore(tmp_path)
    assert load(store, AT, settings="digest") is None
    save(store, AT, Checkpoint({}, b"", "digest"))
    save(store, AT, ONE)
    assert load(store, AT, settings="digest") == ONE
    assert [info.path for info in store.list("")] == [AT]
    assert store.list("")[0].size_bytes < len(ONE.state)


def test_a_put_that_fails_leaves_the_one_before():
    def fail(path):
        raise OSError("full")

    store = MemoryStore()
    save(store, AT, ONE)
    store.before_put = fail
    with pytest.raises(OSError, match="full"):
        save(store, AT, Checkpoint({}, b"", "digest"))
    assert load(store, AT, settings="digest") == ONE


def test_what_does_not_fit_is_refused():
    store = MemoryStore()
    save(store, AT, ONE)
    with pytest.raises(ModelError, match="of other summaries, or of another number of workers; put"):
        load(store, AT, settings="other")
    store.put(AT, to_bytes(frame({"checkpoint": 99})))
    with pytest.raises(ModelError, match="has format 99; this version reads 1"):
        load(store, AT, settings="digest")


@given(st.data())
def test_damage_is_named(data):
    store = MemoryStore()
    save(store, AT, ONE)
    whole = store.get(AT).data
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        store.put(AT, whole[:at])
    else:
        store.put(AT, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with suppress(ModelError):  # and else only bytes between parts were hit
        assert load(store, AT, settings="digest") == ONE
