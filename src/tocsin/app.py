"""The only place that builds things from settings."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tocsin.clock import Clock, SystemClock
from tocsin.errors import StoreError
from tocsin.settings import Settings, read_secret

if TYPE_CHECKING:
    from tocsin.jobs.contexts import Contexts
    from tocsin.jobs.work import Work
    from tocsin.ledger.ledger import Ledger
    from tocsin.sink import Sink
    from tocsin.store import Store
    from tocsin.verdict.verdict import Verdict


class App:
    """What a command works with, each part built when it is first asked for."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()

    @property
    def domain(self) -> str:
        """The group of sensors that is worked on: the first folder below the store."""
        return self.settings.domain

    @cached_property
    def store(self) -> "Store":
        """The object store: a folder, or an S3 bucket."""
        settings = self.settings.s3
        if not (self.settings.store.startswith("s3://") or settings.bucket):
            from tocsin.stores.folder import FolderStore

            return FolderStore(Path(self.settings.store))
        from tocsin.stores.s3 import S3Store

        address = urlsplit(
            self.settings.store if self.settings.store.startswith("s3://") else f"s3://{settings.bucket}"
        )
        return S3Store(
            bucket=address.netloc,
            prefix=address.path.strip("/") or settings.prefix,
            region=settings.region,
            endpoint=settings.endpoint,
            profile=settings.profile,
            access_key_id=read_secret(None, settings.access_key_id_file, "s3.access_key_id_file"),
            secret_access_key=read_secret(None, settings.secret_access_key_file, "s3.secret_access_key_file"),
            url_style=settings.url_style,
            http_retries=settings.http_retries,
            http_retry_wait_ms=settings.http_retry_wait_ms,
            http_retry_backoff=settings.http_retry_backoff,
            timeout_s=settings.timeout_s,
        )

    @cached_property
    def ledger(self) -> "Ledger":
        """The database of findings, labels, suppressions and job history, migrated to this version."""
        from tocsin.ledger.ledger import Ledger

        url = read_secret(self.settings.ledger, self.settings.ledger_file, "ledger_file")
        return Ledger(url or f"sqlite:///{self.home / 'ledger.sqlite'}", clock=self.clock)

    @cached_property
    def home(self) -> Path:
        """The local folder for what is not in the store: the folder store itself, or ./tocsin-data beside S3."""
        remote = self.settings.store.startswith("s3://") or bool(self.settings.s3.bucket)
        home = Path("./tocsin-data") if remote else Path(self.settings.store)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{home}: {error.strerror}; `store` must be a folder that can be made") from error
        return home

    @cached_property
    def verdict(self) -> "Verdict":
        """What turns scores into findings."""
        from tocsin.verdict.verdict import Verdict

        return Verdict(self.ledger, self.settings.verdict, domain=self.domain, clock=self.clock, sinks=self.sinks)

    @cached_property
    def sinks(self) -> "list[Sink]":
        """Where findings are delivered."""
        from tocsin.sinks.build import build_sink

        numbered = enumerate(self.settings.sinks)
        return [build_sink(settings, f"sinks.{number}", clock=self.clock) for number, settings in numbered]

    def contexts(self) -> "Contexts":
        """Open the folder of novelty contexts. Raises StoreError when another process, as a service, has it."""
        from tocsin.jobs.contexts import Contexts

        return Contexts.open(self.home / "novelty", clock=self.clock, durability=self.settings.serve.durability)

    def work(self, protocols: Sequence[str] = ()) -> "Work":
        """What jobs work with; limited to these protocols, or to those of the settings."""
        from tocsin.jobs.process import Process
        from tocsin.jobs.work import Work

        return Work(
            store=self.store,
            ledger=self.ledger,
            verdict=self.verdict,
            settings=self.settings,
            clock=self.clock,
            owner=str(Process.here()),
            protocols=[proto.lower() for proto in protocols or self.settings.protocols],
        )

    def close(self) -> None:
        """Let go of what was built."""
        for name in ("ledger",):
            if name in self.__dict__:
                self.__dict__[name].close()
        for sink in self.__dict__.get("sinks", []):
            sink.close()
