"""Claims between two owners on one store."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import ConflictError, StoreError
from tocsin.jobs.claims import claim, claims, sweep_claims
from tocsin.jobs.process import Process, owner_is_gone
from tocsin.store import Store, read_json
from tocsin.stores.folder import FolderStore
from tocsin.testing.clock import FakeClock

PATH = "office/claims/sample-2025-01-08.json"
ELSEWHERE = Process("another-host", 7, "1", "boot-1")
EXPIRY_S = 120.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FolderStore(tmp_path)


def test_one_of_two_owners_holds_it(store: Store, clock: FakeClock) -> None:
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S) as held:
        assert held is not None
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as other:
            assert other is None
        with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S) as again:
            assert again is None
        assert [(state.owner, state.held) for state in claims(store, "office/claims/", clock=clock)] == [("a", True)]
    with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as held:
        assert held is not None


def test_it_is_released_when_the_work_fails(store: Store, clock: FakeClock) -> None:
    with pytest.raises(ZeroDivisionError), claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S):
        _ = 1 / 0
    assert [state.held for state in claims(store, "office/", clock=clock)] == [False]


def test_the_document_says_who_and_until_when(store: Store, clock: FakeClock) -> None:
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S, process=ELSEWHERE):
        document, _ = read_json(store, PATH)
    assert document == {
        "owner": "a",
        "host": "another-host",
        "pid": 7,
        "started": "1",
        "where": "boot-1",
        "renewed": "2025-01-08T00:00:00Z",
        "expires": "2025-01-08T00:02:00Z",
    }


def test_an_expired_claim_is_taken_over_and_its_loser_learns_of_it(store: Store, clock: FakeClock) -> None:
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S, process=ELSEWHERE) as slow:
        assert slow is not None
        clock.advance(EXPIRY_S - 1)
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as early:
            assert early is None
        clock.advance(1)
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as fast:
            assert fast is not None
            for _ in range(2):
                with pytest.raises(ConflictError, match="not published"):
                    slow.renew()
            slow.release()
            fast.renew()
            clock.advance(EXPIRY_S / 2)
            fast.renew()
            assert read_json(store, PATH)[0]["owner"] == "b"  # type: ignore[index]


def test_renewing_puts_the_expiry_off(store: Store, clock: FakeClock) -> None:
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S, process=ELSEWHERE) as held:
        assert held is not None
        for _ in range(10):
            clock.advance(EXPIRY_S * 0.9)
            held.renew()
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as other:
            assert other is None


def test_renewing_is_free_within_a_third_of_the_expiry(store: Store, clock: FakeClock) -> None:
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S) as held:
        assert held is not None
        before = store.get(PATH)
        clock.advance(EXPIRY_S / 3 - 1)
        held.renew()
        assert store.get(PATH) == before
        clock.advance(1)
        held.renew()
        assert store.get(PATH) != before


def test_a_dead_process_of_this_machine_holds_nothing(store: Store, clock: FakeClock) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Process.here()
    stat = Path(f"/proc/{child.pid}/stat")
    started = stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""
    alive = replace(here, pid=child.pid, started=started)
    with claim(store, PATH, owner="a", clock=clock, expiry_s=EXPIRY_S, process=alive):
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as other:
            assert other is None
        assert not owner_is_gone(str(alive))
        child.kill()
        child.communicate()
        assert owner_is_gone(str(alive))
        with claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S) as other:
            assert other is not None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not say when a process started")
def test_a_later_process_of_the_same_number_is_another(store: Store) -> None:
    here = Process.here()
    assert not here.is_gone()
    assert replace(here, started="1").is_gone()


def test_a_process_that_cannot_be_seen_is_not_called_dead() -> None:
    here = replace(Process.here(), pid=2**22 + 1)
    assert here.is_gone()
    assert not replace(here, host="another-host").is_gone()
    assert not replace(here, where="another-container").is_gone()
    assert not owner_is_gone("host:7")
    assert Process.parse(str(ELSEWHERE)) == ELSEWHERE


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.integers(2, 5))
def test_of_many_owners_one_holds_it(tmp_path: Path, clock: FakeClock, owners: int) -> None:
    store, won = FolderStore(tmp_path / os.urandom(4).hex()), []
    together, tried = threading.Barrier(owners), threading.Barrier(owners)

    def work(owner: str) -> None:
        together.wait()
        with claim(store, PATH, owner=owner, clock=clock, expiry_s=EXPIRY_S) as held:
            if held is not None:
                won.append(owner)
            tried.wait()

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(owners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_old_documents_are_swept(store: Store, clock: FakeClock) -> None:
    for number in range(2):
        with claim(store, f"office/claims/{number}.json", owner="a", clock=clock, expiry_s=EXPIRY_S):
            clock.advance(1)
        clock.advance(80_000)
    with claim(store, "office/claims/held.json", owner="a", clock=clock, expiry_s=10**6):
        clock.advance(1000)
        assert sweep_claims(store, "office/claims/", clock=clock) == 1
        assert [state.path[-6:] for state in claims(store, "office/claims/", clock=clock)] == ["1.json", "d.json"]


def test_a_document_that_is_no_claim_is_named(store: Store, clock: FakeClock) -> None:
    store.put(PATH, b'{"owner": "a", "expires": "soon"}')
    with (
        pytest.raises(StoreError, match="is no claim: expires is missing or no time"),
        claim(store, PATH, owner="b", clock=clock, expiry_s=EXPIRY_S),
    ):
        pass
