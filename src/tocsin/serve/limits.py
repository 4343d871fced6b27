"""How much a caller may ask for: requests a second, and bytes a request."""

from collections.abc import Callable, Mapping

from tocsin.serve.problems import Problem
from tocsin.settings_serve import ServeSettings

MEBIBYTE = 1 << 20
BURST_S = 5.0
MOST_CALLERS = 10_000
SLOWEST_BYTES_PER_S = 65_536
"""A body that comes in no faster than this does not extend a request's time."""

LARGE = ("/import", "/upload")


class Buckets:
    """A bucket of tokens a caller: a request takes one, and so many a second come back, up to five seconds' worth."""

    def __init__(self, per_s: float, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, caller: str, now: float | None = None) -> float:
        """Return how many tokens there are. Raises Problem 429 when there is none."""
        now = self._now() if now is None else now
        tokens, at = self._buckets.get(caller, (self._most, now))
        tokens = min(self._most, tokens + (now - at) * self._per_s)
        if tokens < 1:
            raise _too_many(caller, self._per_s, (1 - tokens) / self._per_s)
        return tokens

    def take(self, caller: str) -> None:
        """Take a token. Raises Problem 429 when there is none."""
        now = self._now()
        tokens = self.check(caller, now)
        if caller not in self._buckets and len(self._buckets) >= MOST_CALLERS:
            # The one that came first goes; at worst it gets its full bucket back too soon.
            del self._buckets[next(iter(self._buckets))]
        self._buckets[caller] = tokens - 1, now


def most_bytes(settings: ServeSettings, path: str) -> int:
    """Return how large a body may be that is sent to a path."""
    is_large = path.endswith(LARGE)
    return int((settings.max_upload_mb if is_large else settings.max_body_mb) * MEBIBYTE)


def check_length(headers: Mapping[bytes, bytes], most: int) -> None:
    """Raise Problem 413 for a body that says itself that it is too large."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        raise too_large(most)


def too_large(most: int) -> Problem:
    """Return the refusal of a body that is too large."""
    return Problem(
        413,
        "Body too large",
        f"a body of this path may have {most:,} bytes",
        field="body",
        remedy="send it in parts, or raise serve.max_body_mb (serve.max_upload_mb for files)",
        headers={"Connection": "close"},
    )


def _too_many(caller: str, per_s: float, wait_s: float) -> Problem:
    return Problem(
        429,
        detail=f"{caller} sends more than {per_s:g} requests a second",
        remedy="wait as Retry-After says, put more observations into one request, or raise serve.requests_per_s",
        headers={"Retry-After": str(max(1, round(wait_s + 0.5)))},
    )
