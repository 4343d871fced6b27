"""A store in an S3 bucket, at AWS or at any server that speaks S3 with conditional puts."""

import io
import logging
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import S3Store as Client

from tocsin.clock import Clock, SystemClock
from tocsin.errors import ConflictError, NotFoundError, SettingsError, StoreError
from tocsin.levels import TRACE
from tocsin.store import ObjectInfo, Store, Stored, check_path, folder_prefix
from tocsin.stores.credentials import find_credentials
from tocsin.stores.ranges import BUFFER_BYTES, RangeFile

log = logging.getLogger(__name__)
T = TypeVar("T")

# One request moves no more than this, so that a slow line stays within one request's time-out.
PART_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 64 * 1024
LONGEST_WAIT_S = 60.0
# The name of a put, kept with the object: tells our own write from another's when an answer got lost.
_WRITE = "tocsin-write"
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_METADATA_SERVICE = re.compile(r"//(169\.254\.|\[fd00:ec2::)")
_FOR_A_WHILE = {"408", "425", "429", "500", "502", "503", "504", "520", "522", "524"}
_FOR_A_WHILE_CODES = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown"}
_CREDENTIALS = (
    "check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, s3.profile, "
    "or s3.access_key_id_file and s3.secret_access_key_file"
)
_REMEDIES = {
    "NoSuchBucket": "create the bucket or correct s3.bucket",
    "AccessDenied": "these credentials lack the right; allow them to get, put, list and delete objects of this bucket",
    "PermanentRedirect": "the bucket is in another region; correct s3.region",
    "AuthorizationHeaderMalformed": "the bucket may be in another region; correct s3.region",
    "RequestTimeTooSkewed": "set this machine's clock",
    "NotImplemented": "this server cannot do that; use one that supports conditional puts (If-Match, If-None-Match)",
}


class S3Store(Store):
    """Objects in a bucket, below a prefix.

    Requests that fail for a while (5xx, 429, time-outs, connections that break, bodies that stop) are made again,
    http_retries times, after http_retry_wait_ms, each wait http_retry_backoff times the last and half of it random.
    Every error names bucket and endpoint, never a credential. Raises SettingsError when the settings cannot be right.
    """

    name = "s3"

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        region: str = "us-east-1",
        endpoint: str = "",
        profile: str = "",
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        url_style: str = "path",
        http_retries: int = 10,
        http_retry_wait_ms: int = 2000,
        http_retry_backoff: float = 2.0,
        timeout_s: float = 30.0,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.counts = {"errors": 0, "retries": 0}
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._place = f"S3 bucket {bucket!r} at {endpoint or f'AWS, region {region},'}"
        self._retries = http_retries
        self._wait_s = http_retry_wait_ms / 1000
        self._backoff = http_retry_backoff
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._counting = threading.Lock()
        found = find_credentials(profile, access_key_id, secret_access_key)
        secrets = {"access_key_id": found.access_key_id, "secret_access_key": found.secret_access_key} if found else {}
        token = found.session_token if found else None
        # A provider, not keys: beside keys the client would add a session token of the environment's.
        provider = (lambda: {**secrets, "token": token, "expires_at": None}) if found else None
        self._client = _client(bucket, self._prefix, region, endpoint, url_style, timeout_s, provider)

    def __repr__(self) -> str:
        return f"S3Store({self.url('')!r})"

    def get(self, path: str) -> Stored:
        """Return an object. Raises NotFoundError, StoreError."""
        check_path(path)
        size, etag, data = self._call("read", path, lambda _: self._whole(path))
        if data is None:
            starts = range(0, size, PART_BYTES)
            data = b"".join(self._read(path, start, min(start + PART_BYTES, size), etag) for start in starts)
        log.log(TRACE, "read %s", path, extra={"bytes": size})
        return Stored(data, etag)

    def put(self, path: str, data: bytes | memoryview, *, create: bool = False, if_match: str | None = None) -> str:
        """Write an object and return its new e-tag. Raises ConflictError, StoreError.

        A conditional put whose answer got lost and that then fails on its own earlier write has succeeded.
        """
        check_path(path)
        conditional = create or if_match is not None
        mode: Any = "create" if create else {"e_tag": if_match} if conditional else "overwrite"
        write = uuid.uuid4().hex
        # Of a view the client takes unsigned bytes only; Arrow's buffers are of signed ones.
        body = memoryview(data).cast("B")
        options: dict[str, Any] = {"attributes": {_WRITE: write}, "use_multipart": False} if conditional else {}

        def attempt(number: int) -> str:
            try:
                done = obstore.put(self._client, path, body, mode=mode, chunk_size=PART_BYTES, **options)
            except (AlreadyExistsError, PreconditionError) as error:
                if _code(error) in {"NoSuchBucket", *_FOR_A_WHILE_CODES}:
                    raise
                etag = self._own_write(path, write) if number else None
                if etag is None:
                    state = "exists already" if create else "has changed since it was read"
                    raise ConflictError(f"{self.url(path)} {state}") from error
                return etag
            return str(done["e_tag"])

        etag = self._call("write", path, attempt)
        log.log(TRACE, "wrote %s", path, extra={"bytes": body.nbytes})
        return etag

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects below a folder, sorted by path."""
        prefix = folder_prefix(prefix)
        return self._call("list", prefix, lambda _: sorted(self._list(prefix), key=lambda info: info.path))

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens when there is none."""
        check_path(path)
        try:
            self._call("delete", path, lambda _: obstore.delete(self._client, path))
        except NotFoundError:
            return
        log.log(TRACE, "deleted %s", path)

    def open(self, path: str) -> BinaryIO:
        """Open an object for random-access reads. Raises NotFoundError, StoreError.

        The first request brings the last 64 KiB; the rest comes in ranges of 1 to 8 MiB as it is read. When the
        object is replaced meanwhile, reads raise StoreError.
        """
        check_path(path)
        size, etag, tail = self._call("open", path, lambda _: self._tail(path))
        log.log(TRACE, "opened %s", path, extra={"bytes": size})
        file = RangeFile(size, tail, lambda start, end: self._read(path, start, end, etag), largest=PART_BYTES)
        return io.BufferedReader(file, BUFFER_BYTES)

    def url(self, path: str) -> str:
        """Return s3://bucket/prefix/path."""
        return f"s3://{self._bucket}/{self._prefix}{path}"

    def _whole(self, path: str) -> tuple[int, str, bytes | None]:
        """Return an object's size, e-tag and, unless it is too large for one request, its bytes."""
        result = obstore.get(self._client, path)
        size = result.meta["size"]
        return size, str(result.meta["e_tag"]), bytes(result.bytes()) if size <= PART_BYTES else None

    def _read(self, path: str, start: int, end: int, etag: str) -> bytes:
        data = self._call("read", path, lambda _: self._range(path, start, end, etag))
        log.log(TRACE, "read a part of %s", path, extra={"start": start, "bytes": len(data)})
        return data

    def _range(self, path: str, start: int, end: int, etag: str) -> bytes:
        try:
            return bytes(obstore.get(self._client, path, options={"range": (start, end), "if_match": etag}).bytes())
        except PreconditionError as error:
            raise StoreError(f"{self.url(path)} was replaced while it was being read; read it again") from error

    def _tail(self, path: str) -> tuple[int, str, bytes]:
        try:
            result = obstore.get(self._client, path, options={"range": {"suffix": TAIL_BYTES}})
        except GenericError as error:
            # An empty object has no last bytes, and some servers know no ranges from the end.
            if "NotPartial" not in str(error) and _status(error) != "416":
                raise
            result = obstore.get(self._client, path)
        return result.meta["size"], str(result.meta["e_tag"]), bytes(result.bytes())

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        for page in obstore.list(self._client, prefix or None):
            for item in page:
                yield ObjectInfo(item["path"], item["size"], str(item["e_tag"]), item["last_modified"])

    def _own_write(self, path: str, write: str) -> str | None:
        """Return the e-tag of what is there if it is this put's own write, done before its answer got lost."""
        try:
            present = self._call("read", path, lambda _: obstore.get(self._client, path))
        except NotFoundError:
            return None
        return str(present.meta["e_tag"]) if present.attributes.get(_WRITE) == write else None

    def _call(self, action: str, path: str, request: Callable[[int], T]) -> T:
        """Make a request, again while it fails for a while. `request` is told how often it was made before."""
        for number in range(self._retries + 1):
            try:
                return request(number)
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise self._failure(action, path, error, number) from error
                raise NotFoundError(f"there is no {self.url(path)}") from error
            except BaseError as error:
                if number == self._retries or not _passes(error):
                    raise self._failure(action, path, error, number) from None
                self._wait(action, path, error, number)
        raise AssertionError("the last attempt returns or raises")

    def _wait(self, action: str, path: str, error: BaseException, number: int) -> None:
        self._count("retries")
        wait_s = min(self._wait_s * self._backoff**number, LONGEST_WAIT_S) * (0.5 + 0.5 * self._jitter())
        text = "%s: cannot %s %s: %s; trying again in %.1f s (%d of %d)"
        log.warning(text, self._place, action, path, _reason(error), wait_s, number + 1, self._retries)
        self._clock.sleep(wait_s)

    def _failure(self, action: str, path: str, error: BaseException, number: int) -> StoreError:
        self._count("errors")
        times = f" after {number + 1} attempts" if number else ""
        what = f"{action} {path!r}" if path else action
        return StoreError(f"{self._place}: cannot {what}{times}: {_reason(error)}; {_remedy(error)}")

    def _count(self, name: str) -> None:
        with self._counting:
            self.counts[name] += 1


def _client(
    bucket: str, prefix: str, region: str, endpoint: str, url_style: str, timeout_s: float, provider: Any
) -> Client:
    address = urlsplit(endpoint)
    if endpoint and not (address.scheme in ("http", "https") and address.hostname):
        raise SettingsError(f"s3.endpoint: {endpoint!r} is no URL; write https://host or http://host:port")
    options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    if endpoint and url_style == "virtual":
        options["endpoint"] = f"{address.scheme}://{bucket}.{address.netloc}"
    if provider is not None:
        options["credential_provider"] = provider
    timeout = timedelta(seconds=timeout_s)
    return Client(
        bucket,
        prefix=prefix.rstrip("/") or None,
        region=region,
        virtual_hosted_style_request=url_style == "virtual",
        # Deleting one object by one request is what every server knows.
        disable_bulk_delete=True,
        client_options={
            "allow_http": address.scheme == "http",
            "timeout": timeout,
            "connect_timeout": min(timeout, timedelta(seconds=10)),
        },
        # Retries are made here, where they are counted and where puts may be repeated safely.
        retry_config={"max_retries": 0},
        **options,
    )


def _code(error: BaseException) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _status(error: BaseException) -> str:
    found = _STATUS.search(str(error))
    return found[1] if found else ""


def _passes(error: BaseException) -> bool:
    """Tell whether a failure may pass by itself."""
    if _code(error) in _FOR_A_WHILE_CODES:
        return True
    text = str(error)
    lasting = _METADATA_SERVICE.search(text) or "redirect without LOCATION" in text or "certificate" in text
    if not isinstance(error, GenericError) or lasting:
        return False
    return _status(error) in _FOR_A_WHILE if _status(error) else True


def _reason(error: BaseException) -> str:
    """Say what went wrong in a few words. The answer's body is left out: it may repeat what was signed."""
    text = str(error)
    if _METADATA_SERVICE.search(text):
        return "no credentials were found"
    if _code(error) or _status(error):
        return " ".join(part for part in (_status(error), _code(error)) if part)
    first = text.partition("\n")[0].rpartition(" - ")[2]
    return "no answer" if "error sending request" in first else first[:160]


def _remedy(error: BaseException) -> str:
    code = _code(error)
    if code in _REMEDIES:
        return _REMEDIES[code]
    if "redirect without LOCATION" in str(error):
        return _REMEDIES["PermanentRedirect"]
    if "certificate" in str(error):
        return "make this machine trust the server's certificate (SSL_CERT_FILE)"
    if _METADATA_SERVICE.search(str(error)) or _status(error) in ("401", "403") or "Token" in code:
        return _CREDENTIALS
    return "check s3.endpoint, s3.region and the network"
