"""The journal: what a commit returned for is read back, whatever happens to the rest."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import InputError, StoreError
from tocsin.jobs.journal import MOST_FRAME_BYTES, MOST_WAITING_BYTES, Journal
from tocsin.jobs.segment import FRAME_BYTES, HEAD_BYTES, ROOM_BYTES, Recorded, path_of


def put(journal: Journal, payload: bytes, context: int = 1) -> None:
    journal.reserve(len(payload))
    journal.append(7, context, payload)


def payloads(folder: Path, number: int = 1, *, salvage: bool = False) -> list[bytes]:
    return [bytes(frame.payload) for frame in Recorded(path_of(folder, number), number, salvage=salvage).frames()]


def descriptor_of(path: Path) -> int:
    """The descriptor under which this process has a file open."""
    links = {link: int(link.name) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    return next(fd for link, fd in links.items() if os.path.lexists(link) and link.readlink() == path)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let no file grow further: the same refusal, from the same calls, as of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, 1)
    yield made
    with suppress(StoreError):  # of the tests that break it
        made.close()


def test_what_was_committed_is_read_while_the_writer_still_has_it(journal: Journal, tmp_path: Path):
    put(journal, b"one")
    put(journal, b"", context=9)
    journal.commit()
    put(journal, b"not committed")
    frames = list(Recorded(path_of(tmp_path, 1), 1).frames())
    assert [(frame.kind, frame.context, bytes(frame.payload)) for frame in frames] == [(7, 1, b"one"), (7, 9, b"")]
    assert frames[0].at == HEAD_BYTES


@pytest.mark.parametrize("durable", [True, False])
def test_a_closed_segment_has_everything_and_no_room(tmp_path: Path, durable: bool):
    journal = Journal(tmp_path, 3, durable=durable)
    put(journal, b"one")
    journal.close()
    assert payloads(tmp_path, 3) == [b"one"]
    assert path_of(tmp_path, 3).stat().st_size == HEAD_BYTES + FRAME_BYTES + 3


def test_rotation_ends_one_segment_and_begins_the_next(journal: Journal, tmp_path: Path):
    put(journal, b"one")
    assert journal.rotate() == 2
    put(journal, b"two")
    journal.commit()
    assert (payloads(tmp_path, 1), payloads(tmp_path, 2)) == ([b"one"], [b"two"])
    assert path_of(tmp_path, 1).stat().st_size == HEAD_BYTES + FRAME_BYTES + 3
    assert path_of(tmp_path, 2).stat().st_size > ROOM_BYTES


def test_an_old_segment_is_not_written_over(tmp_path: Path):
    journal = Journal(tmp_path, 1)
    put(journal, b"one")
    journal.close()
    with pytest.raises(StoreError, match="cannot begin segment 1"):
        Journal(tmp_path, 1)


def test_many_threads_commit_together(journal: Journal, tmp_path: Path):
    lock, done = threading.Lock(), []

    def work(number: int) -> None:
        for turn in range(5):
            payload = f"{number}-{turn}".encode()
            with lock:
                put(journal, payload)
            journal.commit()
            done.append(payload in payloads(tmp_path))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 40
    assert len(payloads(tmp_path)) == 40


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data())
def test_a_tail_that_was_cut_anywhere_leaves_all_before_it(tmp_path_factory, written, data):
    folder = tmp_path_factory.mktemp("cut")
    journal = Journal(folder, 1)
    acknowledged = data.draw(st.integers(0, len(written) - 1))
    for payload in written[:acknowledged]:
        put(journal, payload)
    journal.commit()
    path = path_of(folder, 1)
    head = path.read_bytes()[:HEAD_BYTES]
    safe = HEAD_BYTES + sum(FRAME_BYTES + len(payload) for payload in written[:acknowledged])
    for payload in written[acknowledged:]:
        put(journal, payload)
    journal.close()
    whole = path.read_bytes()
    # As it was when the write had begun, and nothing was yet confirmed.
    cut = data.draw(st.integers(safe, len(whole)))
    path.write_bytes(head + whole[HEAD_BYTES:cut] + bytes(data.draw(st.sampled_from([0, 5, 100]))))
    found = Recorded(path, 1)
    kept = [bytes(frame.payload) for frame in found.frames()]
    assert kept == written[: len(kept)]
    assert len(kept) >= acknowledged
    found.mend()
    assert payloads(folder) == kept
    assert path.stat().st_size == (found.end if kept else 0)


def test_a_hole_in_what_was_never_confirmed_is_cut_off(journal: Journal, tmp_path: Path):
    put(journal, b"one")
    journal.commit()
    path = path_of(tmp_path, 1)
    head = path.read_bytes()[:HEAD_BYTES]
    put(journal, b"two")
    put(journal, b"three")
    journal.commit()
    whole = path.read_bytes()
    hole = HEAD_BYTES + FRAME_BYTES + 3
    # A disk writes in an order of its own: after a power cut a later frame may be there and an earlier one not.
    path.write_bytes(head + whole[HEAD_BYTES:hole] + bytes(FRAME_BYTES + 3) + whole[hole + FRAME_BYTES + 3 :])
    assert payloads(tmp_path) == [b"one"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damage_of_what_was_confirmed_names_file_byte_and_remedy(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    journal = Journal(folder, 1)
    for payload in (b"one", b"two", b"three"):
        put(journal, payload)
        journal.commit()
    path = path_of(folder, 1)
    whole = bytearray(path.read_bytes())
    end = HEAD_BYTES + 3 * FRAME_BYTES + 11
    at = data.draw(st.integers(HEAD_BYTES, end - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    damaged = next(start for start in (102, 83, HEAD_BYTES) if start <= at)
    with pytest.raises(StoreError, match=rf"journal-00000001.log is damaged at byte {damaged}: .* backup; .* mv "):
        payloads(folder)
    journal.close()


def test_what_is_before_the_damage_can_be_salvaged(tmp_path: Path):
    journal = Journal(tmp_path, 1)
    for payload in (b"one", b"two", b"three"):
        put(journal, payload)
    journal.close()
    path = path_of(tmp_path, 1)
    whole = bytearray(path.read_bytes())
    whole[90] ^= 1
    aside = path.with_suffix(".salvage")
    aside.write_bytes(whole)
    path.unlink()
    found = Recorded(aside, 1, salvage=True)
    assert [bytes(frame.payload) for frame in found.frames()] == [b"one"]
    found.mend()
    assert payloads(tmp_path) == [b"one"]
    assert path.with_suffix(".damaged").read_bytes() == whole
    assert not aside.exists()


def test_a_file_that_lost_its_end_is_damaged(tmp_path: Path):
    journal = Journal(tmp_path, 1)
    put(journal, b"one")
    journal.close()
    os.truncate(path_of(tmp_path, 1), HEAD_BYTES + FRAME_BYTES)
    with pytest.raises(StoreError, match="damaged at byte 64"):
        payloads(tmp_path)


def test_a_segment_of_another_number_is_none(tmp_path: Path):
    Journal(tmp_path, 1).close()
    path_of(tmp_path, 1).rename(path_of(tmp_path, 2))
    with pytest.raises(StoreError, match="does not begin as a journal of its number"):
        payloads(tmp_path, 2)
    assert payloads(tmp_path, 2, salvage=True) == []


def test_a_segment_without_a_head_is_empty(tmp_path: Path):
    path_of(tmp_path, 1).write_bytes(bytes(100))
    found = Recorded(path_of(tmp_path, 1), 1)
    assert list(found.frames()) == []
    found.mend()
    Journal(tmp_path, 1).close()
    assert payloads(tmp_path) == []


def test_a_full_disk_refuses_before_anything_is_promised(journal: Journal, tmp_path: Path):
    put(journal, b"one")
    journal.commit()
    with files_of_at_most(ROOM_BYTES // 2), pytest.raises(StoreError, match=r"nothing was learned: .* free some space"):
        journal.reserve(2 * ROOM_BYTES)
    with files_of_at_most(ROOM_BYTES // 2):
        put(journal, b"what room was set aside for goes on")
        journal.commit()
    journal.reserve(2 * ROOM_BYTES)
    assert len(payloads(tmp_path)) == 2


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"], ids=["write fails", "sync fails"])
def test_after_a_failed_write_or_sync_nothing_is_acknowledged(journal: Journal, tmp_path: Path, device: str):
    put(journal, b"one")
    journal.commit()
    put(journal, b"two")
    broken = os.open(device, os.O_RDWR)
    os.dup2(broken, descriptor_of(path_of(tmp_path, 1)))
    os.close(broken)
    for refused in (journal.commit, journal.commit, lambda: journal.reserve(1), journal.rotate, journal.close):
        with pytest.raises(StoreError, match=r"Nothing is acknowledged any more.*restart"):
            refused()
    assert payloads(tmp_path) == [b"one"]


def test_a_payload_that_is_too_large_is_refused(journal: Journal):
    with pytest.raises(InputError, match="send it in parts"):
        journal.reserve(MOST_FRAME_BYTES + 1)


def test_who_never_commits_does_not_fill_the_memory(journal: Journal, tmp_path: Path):
    put(journal, bytes(MOST_WAITING_BYTES))
    put(journal, b"more")
    assert len(payloads(tmp_path)) == 1
