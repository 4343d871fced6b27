"""Sinks from settings."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tocsin.clock import Clock, SystemClock
from tocsin.detector import load_class
from tocsin.errors import SettingsError
from tocsin.settings import read_secret
from tocsin.settings_sinks import SinkSettings
from tocsin.sink import SINKS, Sink
from tocsin.sinks.threshold import ThresholdSink


def build_sink(settings: SinkSettings, key: str = "sinks", *, clock: Clock | None = None) -> Sink:
    """Make a sink that delivers findings of its least severity and above.

    Args:
        settings: the sink's section.
        key: where that section stands, such as sinks.0, for messages.
        clock: time and sleep for those that need it.

    Raises:
        SettingsError: naming the key that is missing or wrong.
    """
    make = _BUILDERS[settings.type]
    return ThresholdSink(make(settings, key, clock or SystemClock()), settings.min_severity)


def _jsonl(settings: SinkSettings, key: str, clock: Clock) -> Sink:
    sink: Sink = load_class(SINKS, "jsonl")(_path(settings, key, "a file"))
    return sink


def _parquet(settings: SinkSettings, key: str, clock: Clock) -> Sink:
    sink: Sink = load_class(SINKS, "parquet")(_path(settings, key, "a folder"))
    return sink


def _notice(settings: SinkSettings, key: str, clock: Clock) -> Sink:
    sink: Sink = load_class(SINKS, "notice")(_path(settings, key, "a file"), clock=clock)
    return sink


def _webhook(settings: SinkSettings, key: str, clock: Clock) -> Sink:
    address = urlsplit(settings.url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise SettingsError(
            f"{key}.url: a webhook sink needs an address such as https://host/path (got {settings.url!r})"
        )
    secret = read_secret(settings.secret, settings.secret_file, f"{key}.secret_file")
    sink: Sink = load_class(SINKS, "webhook")(settings.url, secret=secret, clock=clock)
    return sink


def _syslog(settings: SinkSettings, key: str, clock: Clock) -> Sink:
    if not settings.host:
        raise SettingsError(f"{key}.host: a syslog sink needs a server")
    sink: Sink = load_class(SINKS, "syslog")(settings.host, settings.port, protocol=settings.protocol, clock=clock)
    return sink


def _path(settings: SinkSettings, key: str, what: str) -> Path:
    if settings.path is None:
        raise SettingsError(f"{key}.path: a {settings.type} sink needs {what}")
    return settings.path


_BUILDERS: dict[str, Callable[[SinkSettings, str, Clock], Sink]] = {
    "jsonl": _jsonl,
    "parquet": _parquet,
    "webhook": _webhook,
    "syslog": _syslog,
    "notice": _notice,
}
