"""The S3 store against a server that fails, wrong settings and wrong credentials."""

import logging
import secrets
from pathlib import Path
from typing import Any

import pytest

from tocsin.errors import ConflictError, SettingsError, StoreError
from tocsin.levels import TRACE
from tocsin.stores.credentials import Credentials, find_credentials
from tocsin.stores.s3 import PART_BYTES, S3Store
from tocsin.testing.clock import FakeClock

SECRET = "wJalrXUtnFEMI"


def a_store(endpoint: str, **changes: Any) -> S3Store:
    values: dict[str, Any] = {
        "bucket": "flows",
        "prefix": f"s3-{secrets.token_hex(6)}",
        "endpoint": endpoint,
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": SECRET,
        "http_retries": 4,
        "http_retry_wait_ms": 1000,
        "timeout_s": 20,
        "clock": FakeClock(),
        "jitter": lambda: 1.0,
    }
    return S3Store(**values | changes)


@pytest.mark.parametrize(
    "faults", [["503"], ["503"] * 4, ["hang"], ["reset"], ["reset", "503", "hang"]], ids=lambda faults: "-".join(faults)
)
def test_what_fails_for_a_while_is_finished(faulty_server: Any, faults: list[str]) -> None:
    # On a busy machine a sound answer may come late too, so more retries than faults are allowed, and harmless.
    store = a_store(faulty_server.url, http_retries=10, timeout_s=0.4 if "hang" in faults else 20)
    for call in (
        lambda: store.put("a", b"one"),
        lambda: store.put("b", b"one", create=True),
        lambda: store.get("a").data == b"one" or pytest.fail("other bytes"),
        lambda: store.list(""),
        lambda: store.open("a").read(),
        lambda: store.delete("a"),
    ):
        faulty_server.faults[:] = faults
        before = store.counts["retries"]
        call()
        assert store.counts["retries"] >= before + len(faults)
    assert [info.path for info in store.list("")] == ["b"]
    assert store.counts["errors"] == 0


def test_slow_bytes_are_asked_for_again(faulty_server: Any) -> None:
    store = a_store(faulty_server.url, http_retries=10, timeout_s=0.4)
    store.put("a", b"0123456789" * 10)
    for read in (lambda: store.get("a").data, lambda: store.open("a").read()):
        faulty_server.faults[:] = ["trickle"]
        assert read() == b"0123456789" * 10
    assert store.counts["errors"] == 0
    assert store.counts["retries"] >= 2


def test_a_range_that_fails_is_asked_for_again(faulty_server: Any) -> None:
    store = a_store(faulty_server.url)
    data = secrets.token_bytes(PART_BYTES + 1000)
    store.put("a", data)
    faulty_server.faults[:] = ["", "503", "", "reset"]
    assert store.get("a").data == data
    assert store.counts["retries"] == 2


def test_waits_grow_and_have_a_limit(faulty_server: Any) -> None:
    clock = FakeClock()
    store = a_store(faulty_server.url, clock=clock, http_retries=3, http_retry_wait_ms=2000, http_retry_backoff=3)
    faulty_server.faults[:] = ["503"] * 3
    store.list("")
    assert clock.monotonic() == 2 + 6 + 18
    patient = a_store(faulty_server.url, clock=clock, http_retries=10, http_retry_wait_ms=2000, jitter=lambda: 0.0)
    faulty_server.faults[:] = ["503"] * 10
    patient.list("")
    assert clock.monotonic() == 26 + (2 + 4 + 8 + 16 + 32 + 5 * 60) / 2


def test_what_keeps_failing_is_one_line(faulty_server: Any) -> None:
    store = a_store(faulty_server.url, http_retries=2)
    faulty_server.faults[:] = ["503"] * 3
    with pytest.raises(StoreError) as caught:
        store.get("a")
    place = f"S3 bucket 'flows' at {faulty_server.url}"
    assert str(caught.value).startswith(f"{place}: cannot read 'a' after 3 attempts: 503 SlowDown; check s3.endpoint")
    assert "\n" not in str(caught.value)
    assert store.counts == {"errors": 1, "retries": 2}


@pytest.mark.parametrize("condition", ["create", "if_match"])
def test_a_put_whose_answer_got_lost_has_succeeded(faulty_server: Any, condition: str) -> None:
    store = a_store(faulty_server.url)
    how: dict[str, Any] = {"create": True} if condition == "create" else {"if_match": store.put("a", b"one")}
    faulty_server.faults[:] = ["lost", "503"]
    etag = store.put("a", b"two", **how)
    assert store.get("a").etag == etag
    assert store.get("a").data == b"two"
    assert store.counts == {"errors": 0, "retries": 2}


def test_another_writer_of_the_same_bytes_is_a_conflict(faulty_server: Any) -> None:
    store = a_store(faulty_server.url)
    etag = store.put("n.json", b'{"n": 1}')
    store.put("n.json", b'{"n": 2}', if_match=etag)
    faulty_server.faults[:] = ["503"]
    with pytest.raises(ConflictError):
        store.put("n.json", b'{"n": 2}', if_match=etag)


def test_a_conflict_of_the_moment_is_tried_again(faulty_server: Any) -> None:
    store = a_store(faulty_server.url)
    faulty_server.faults[:] = [(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")]
    store.put("a", b"one", create=True)
    assert store.counts["retries"] == 1


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "SignatureDoesNotMatch", "check the credentials: AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "check the credentials: AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", "allow them to get, put, list and delete"),
        (400, "ExpiredToken", "check the credentials"),
        (400, "AuthorizationHeaderMalformed", "correct s3.region"),
        (301, "PermanentRedirect", "correct s3.region"),
        (404, "NoSuchBucket", "create the bucket or correct s3.bucket"),
        (501, "NotImplemented", "supports conditional puts"),
    ],
)
def test_what_will_not_pass_is_one_line_at_once(
    faulty_server: Any, caplog: pytest.LogCaptureFixture, status: int, code: str, remedy: str
) -> None:
    store = a_store(faulty_server.url)
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId><Sent>{SECRET}</Sent></Error>"
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.put("a", b"", create=True),
        lambda: store.list(""),
        lambda: store.delete("a"),
        lambda: store.open("a"),
    ):
        faulty_server.faults[:] = [(status, body.encode())]
        with caplog.at_level(logging.DEBUG), pytest.raises(StoreError, match=remedy) as caught:
            call()
        text = str(caught.value)
        assert f"S3 bucket 'flows' at {faulty_server.url}" in text
        assert "\n" not in text
        assert SECRET not in text + caplog.text + repr(store)
        assert "AKIDEXAMPLE" not in text + caplog.text + repr(store)
    assert store.counts["retries"] == 0


def test_an_unreachable_endpoint_is_one_line() -> None:
    store = a_store("http://127.0.0.1:1", http_retries=1)
    with pytest.raises(StoreError, match=r"at http://127.0.0.1:1: cannot list after 2 attempts: no answer; check s3\."):
        store.list("")


def test_an_object_that_is_replaced_while_it_is_read_is_refused(s3_server: str) -> None:
    store = a_store(s3_server)
    store.put("a", bytes(200_000))
    with store.open("a") as file:
        store.put("a", bytes(200_001))
        with pytest.raises(StoreError, match="replaced while it was being read"):
            file.read()


@pytest.mark.parametrize("endpoint", ["minio:9000", "nonsense", "ftp://host", "https://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"s3\.endpoint: .* is no URL"):
        a_store(endpoint)


def test_keys_that_are_given_go_first() -> None:
    found = find_credentials("work", "id", "key", {"AWS_ACCESS_KEY_ID": "other"})
    assert found == Credentials("id", "key")
    assert "id" not in repr(found).replace("Credentials", "")
    with pytest.raises(SettingsError, match=r"s3\.secret_access_key_file is missing"):
        find_credentials("", "id", None, {})


def test_profiles_are_read(tmp_path: Path) -> None:
    keys = "aws_access_key_id = {0}\naws_secret_access_key = {0}-secret%\n"
    (tmp_path / "credentials").write_text("[default]\n" + keys.format("d") + "[work]\n" + keys.format("w"))
    (tmp_path / "config").write_text(
        "[profile lab]\n" + keys.format("l") + "aws_session_token = t\n[profile sso]\nx = y\n"
    )
    here = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    assert find_credentials("work", None, None, here) == Credentials("w", "w-secret%")
    assert find_credentials("lab", None, None, here) == Credentials("l", "l-secret%", "t")
    assert find_credentials("", None, None, {**here, "AWS_PROFILE": "work"}) == Credentials("w", "w-secret%")
    assert find_credentials("", None, None, {**here, "AWS_ACCESS_KEY_ID": "e"}) is None
    assert find_credentials("", None, None, here) == Credentials("d", "d-secret%")
    with pytest.raises(SettingsError, match="there is no profile 'none'"):
        find_credentials("none", None, None, here)
    with pytest.raises(SettingsError, match=r"'sso' .* has no aws_access_key_id"):
        find_credentials("sso", None, None, here)
    (tmp_path / "config").write_text("secret without a section")
    with pytest.raises(SettingsError, match="not written as") as caught:
        find_credentials("work", None, None, here)
    assert "secret without" not in str(caught.value)


def test_each_object_that_is_touched_is_traced(faulty_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = a_store(faulty_server.url)
    store.put("a/b", b"12345")
    assert not [record for record in caplog.records if record.levelno <= TRACE]
    caplog.set_level(TRACE)
    store.put("a/b", b"1234")
    store.get("a/b")
    store.open("a/b").close()
    store.delete("a/b")
    traced = [record for record in caplog.records if record.name == "tocsin.stores.s3"]
    assert [record.getMessage() for record in traced] == ["wrote a/b", "read a/b", "opened a/b", "deleted a/b"]
    assert [getattr(record, "bytes", 4) for record in traced] == [4] * 4
    assert SECRET not in caplog.text
