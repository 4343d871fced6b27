"""One suite over every registered store."""

import io
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import ConflictError, NotFoundError, StoreError
from tocsin.store import STORES, Store, read_json, update_json
from tocsin.stores.folder import FolderStore
from tocsin.stores.probe import SCRATCH, probe
from tocsin.stores.s3 import S3Store


def a_folder(request: pytest.FixtureRequest) -> Store:
    return FolderStore(Path(request.getfixturevalue("tmp_path")) / "store")


def a_bucket(request: pytest.FixtureRequest) -> Store:
    return S3Store(
        bucket="flows",
        prefix=f"test-{secrets.token_hex(6)}",
        endpoint=request.getfixturevalue("s3_server"),
        access_key_id="key",
        secret_access_key="secret",
        http_retries=1,
        http_retry_wait_ms=1,
    )


BUILD: dict[str, Callable[[pytest.FixtureRequest], Store]] = {"folder": a_folder, "s3": a_bucket}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest) -> Store:
    return BUILD[request.param](request)


@pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 40_000], ids=["empty", "small", "10 MB"])
def test_what_is_put_comes_back(store: Store, data: bytes) -> None:
    etag = store.put("a/b", data)
    assert store.get("a/b").data == data
    assert store.get("a/b").etag == etag
    with store.open("a/b") as file:
        assert file.read() == data


def test_a_view_is_put_like_bytes(store: Store) -> None:
    store.put("a", memoryview(b"-one-")[1:4].cast("b"))
    assert store.get("a").data == b"one"


def test_a_put_replaces(store: Store) -> None:
    first, second = store.put("a", b"one"), store.put("a", b"two")
    assert first != second
    assert store.get("a").data == b"two"


@pytest.mark.parametrize("path", ["x", "a/x", "a"])
def test_what_is_absent_is_said_to_be(store: Store, path: str) -> None:
    store.put("a/b", b"")
    with pytest.raises(NotFoundError):
        store.get(path)
    with pytest.raises(NotFoundError):
        store.open(path)
    store.delete(path)


def test_create_only_refuses_what_is_there(store: Store) -> None:
    store.put("a", b"one", create=True)
    with pytest.raises(ConflictError, match="exists already"):
        store.put("a", b"one", create=True)
    assert store.get("a").data == b"one"


def test_if_match_refuses_what_has_changed(store: Store) -> None:
    first = store.put("a", b"one")
    second = store.put("a", b"two", if_match=first)
    with pytest.raises(ConflictError, match="changed"):
        store.put("a", b"three", if_match=first)
    store.delete("a")
    with pytest.raises(ConflictError):
        store.put("a", b"four", if_match=second)
    assert store.list("") == []


def test_listings_are_sorted_and_below_their_folder(store: Store) -> None:
    for path in ("a/c", "a/.state.json", "a/b/year=2025/x y%.parquet", "ab/c", "b"):
        store.put(path, path.encode())
    assert [info.path for info in store.list("a/")] == ["a/.state.json", "a/b/year=2025/x y%.parquet", "a/c"]
    assert [info.path for info in store.list("a")] == [info.path for info in store.list("a/")]
    assert [info.path for info in store.list("")] == sorted(info.path for info in store.list(""))
    assert len(store.list("")) == 5
    assert store.list("none/") == []
    assert store.list("b/") == []
    assert {info.size_bytes for info in store.list("ab/")} == {4}


def test_a_version_changes_with_the_content(store: Store) -> None:
    versions = set()
    for data in (b"one", b"two", b"six"):
        store.put("a", data)
        versions.add(store.list("")[0].version)
    assert len(versions) == 3
    assert store.list("")[0].version == store.list("")[0].version


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "a\\b", "a\0b"])
def test_paths_that_leave_the_store_are_refused(store: Store, path: str) -> None:
    for call in (store.get, store.delete, store.open, lambda path: store.put(path, b"")):
        with pytest.raises(StoreError, match="no path of an object"):
            call(path)
    if path.strip("/") and not path.endswith("/"):
        with pytest.raises(StoreError, match="no path of an object"):
            store.list(path)


def test_a_file_is_read_anywhere(store: Store) -> None:
    data = np.random.default_rng(0).bytes(200_000)
    store.put("a", data)
    with store.open("a") as file:
        assert file.seek(-10, 2) == len(data) - 10
        assert file.read() == data[-10:]
        file.seek(100_000)
        assert file.read(50_000) == data[100_000:150_000]
        file.seek(1, 1)
        assert file.tell() == 150_001
        assert file.read(1) == data[150_001:150_002]
        file.seek(len(data) + 5)
        assert file.read() == b""


def test_parquet_is_read_over_it(store: Store) -> None:
    table = pa.table({name: np.random.default_rng(0).random(30_000) for name in "abcd"})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=10_000)
    store.put("t.parquet", buffer.getvalue())
    for pre_buffer in (False, True):
        with store.open("t.parquet") as file:
            assert pq.ParquetFile(file, pre_buffer=pre_buffer).read(columns=["c"]) == table.select(["c"])


def test_a_state_document_must_be_one(store: Store) -> None:
    assert read_json(store, "s.json") == (None, None)
    for data, message in ((b"{", "not valid JSON"), (b"[]", "not a JSON object")):
        store.put("s.json", data)
        with pytest.raises(StoreError, match=message):
            read_json(store, "s.json")


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_writers_by_compare_and_swap_lose_nothing(store: Store, steps: list[int]) -> None:
    def count(times: int) -> None:
        together.wait()
        for _ in range(times):
            update_json(store, path, lambda state: {"n": state.get("n", 0) + 1}, attempts=1000)

    path, together = f"count/{secrets.token_hex(4)}.json", threading.Barrier(len(steps))
    threads = [threading.Thread(target=count, args=(times,)) for times in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_json(store, path)[0] == {"n": sum(steps)}


def test_one_of_many_creates(store: Store) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        together.wait()
        try:
            store.put("a", str(number).encode(), create=True)
        except ConflictError:
            return
        won.append(number)

    together = threading.Barrier(6)
    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [store.get("a").data]


def test_the_probe_names_what_it_tried_and_leaves_nothing(store: Store) -> None:
    names = [capability.name for capability in probe(store)]
    assert names == ["put", "get", "open", "list", "create-only", "if-match", "delete"]
    assert store.list(f"{SCRATCH}/") == []


@pytest.mark.parametrize(
    ("ignored", "refusal"), [("create", "ignores create-only"), ("if_match", "ignores conditional")]
)
def test_the_probe_refuses_a_store_that_ignores_conditions(
    store: Store, monkeypatch: pytest.MonkeyPatch, ignored: str, refusal: str
) -> None:
    put = store.put
    monkeypatch.setattr(store, "put", lambda path, data, **how: put(path, data, **{**how, ignored: None}))
    with pytest.raises(StoreError, match=refusal):
        probe(store)
    assert store.list("") == []
