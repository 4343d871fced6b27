"""Findings and results to a web address: a signed POST of JSON.

The headers and the signature are those of Standard Webhooks 1.0, so that receivers can use its libraries to verify.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx2
import pyarrow as pa

from tocsin import __version__
from tocsin.clock import Clock, SystemClock
from tocsin.errors import SettingsError, SinkError
from tocsin.records.finding import Finding
from tocsin.records.result import plain_results
from tocsin.sink import Sink

BATCH = 200
"""Most findings or results in one request."""

RETRIED = (408, 425, 429)
"""Answers below 500 that ask to come again."""


class WebhookSink(Sink):
    """POSTs {"findings": […]} or {"results": […]} and expects a 2xx answer.

    5xx, 429 and broken connections are tried again with back-off.

    Headers: `webhook-id` is the same for every attempt of a delivery, `webhook-timestamp` is in epoch seconds,
    `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` when there is a secret.
    """

    name: ClassVar[str] = "webhook"

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        clock: Clock | None = None,
        attempts: int = 5,
        wait_s: float = 1.0,
        timeout_s: float = 10.0,
    ) -> None:
        self._url = url
        self._key = signing_key(secret) if secret else None
        self._clock = clock or SystemClock()
        self._attempts = attempts
        self._wait_s = wait_s
        self._client = httpx2.Client(timeout=timeout_s, headers={"user-agent": f"tocsin/{__version__}"})

    @property
    def place(self) -> str:
        """Return the address, without what may be secret in it."""
        parts = urlsplit(self._url)
        return f"webhook {parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def send(self, findings: list[Finding]) -> None:
        """Post the findings, in requests of at most BATCH. Raises SinkError with the receiver's answer."""
        for at in range(0, len(findings), BATCH):
            batch = findings[at : at + BATCH]
            subject = "\n".join(f"{finding.id} {finding.count}" for finding in batch)
            self._post({"findings": [finding.to_dict() for finding in batch]}, subject)

    def send_results(self, results: pa.Table) -> None:
        """Post the results, in requests of at most BATCH. Raises SinkError with the receiver's answer."""
        for at in range(0, results.num_rows, BATCH):
            rows = list(plain_results(results.slice(at, BATCH)))
            self._post({"results": rows}, json.dumps(rows, default=str))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, document: dict[str, list[dict[str, Any]]], subject: str) -> None:
        """Post a document; the delivery's id comes from its subject."""
        body = json.dumps(document, ensure_ascii=False, default=str).encode("utf-8", "replace")
        delivery = "msg_" + hashlib.blake2b(subject.encode("utf-8", "replace"), digest_size=12).hexdigest()
        failure = ""
        for attempt in range(self._attempts):
            if attempt:
                self._clock.sleep(self._wait_s * 2 ** (attempt - 1))
            failure = self._attempt(delivery, body)
            if not failure:
                return
        raise SinkError(f"{self.place}: {failure}; gave up after {self._attempts} attempts")

    def _attempt(self, delivery: str, body: bytes) -> str:
        """Post once; return '' when it was taken, else what is worth another try. Raises SinkError for the rest."""
        try:
            answer = self._client.post(self._url, content=body, headers=self._headers(delivery, body))
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            return f"{type(error).__name__}: {error}"
        if answer.is_success:
            return ""
        said = f"answered {answer.status_code} {_first_line(answer.text)}".rstrip()
        if answer.status_code >= 500 or answer.status_code in RETRIED:
            return said
        raise SinkError(f"{self.place}: {said}")

    def _headers(self, delivery: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {"content-type": "application/json", "webhook-id": delivery, "webhook-timestamp": timestamp}
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, delivery, timestamp, body)
        return headers


def signing_key(secret: str) -> bytes:
    """Return the key in a secret: base64 after `whsec_`, else the text itself. Raises SettingsError."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise SettingsError(f"the webhook's secret begins with whsec_ but is no base64 after it: {error}") from error


def sign(key: bytes, delivery: str, timestamp: str, body: bytes) -> str:
    """Return the value of the signature header for a delivery."""
    digest = hmac.new(key, f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else ""
