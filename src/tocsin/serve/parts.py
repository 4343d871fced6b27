"""What the service's routes work with; app_serve.py puts it together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.clock import Clock
from tocsin.ledger.ledger import Ledger
from tocsin.serve.metrics import Metrics
from tocsin.serve.problems import Problem
from tocsin.settings import Settings
from tocsin.settings_serve import ServeSettings
from tocsin.store import Store
from tocsin.verdict.verdict import Verdict

if TYPE_CHECKING:
    from tocsin.jobs.contexts import Contexts
    from tocsin.serve.novelty import Novelty


@dataclass
class Parts:
    """Everything a route may need.

    Ledger and store may be used from any thread, and block: from `def` routes, or through `asyncio.to_thread`.
    The contexts belong to the event loop: only `async def` routes use them, and only `commit` goes to a thread.
    """

    ledger: Ledger
    store: Store
    verdict: Verdict
    domain: str
    clock: Clock
    settings: ServeSettings
    whole_settings: Settings
    """All settings, where a route needs those of another part."""
    metrics: Metrics
    home: Path
    """The local folder for what is not in the store."""
    open_contexts: "Callable[[], Contexts]"
    """Opens the contexts and replays what was observed; called once, in a thread, when the service starts."""
    stop: Callable[[], None] = lambda: None
    """Asks the service to finish what was begun and end."""
    opened: "Contexts | None" = field(default=None, repr=False)
    """The contexts once they are replayed; routes ask `contexts`."""

    failed: Exception | None = None
    """What kept the contexts from being opened."""
    novelty: "Novelty | None" = field(default=None, repr=False)
    """What the novelty routes share, once one asked for it."""
    at_end: list[Callable[[], Awaitable[None]]] = field(default_factory=list, repr=False)
    """Awaited in order when every request is answered, before the contexts are closed."""

    @property
    def contexts(self) -> "Contexts":
        """The named models. Raises Problem 503 until they are replayed."""
        if self.opened is None:
            raise Problem(
                503,
                "Not ready",
                "the contexts are being read back from disk",
                remedy="try again; GET /api/v1/admin/readiness says when it is done",
                headers={"Retry-After": "1"},
            )
        return self.opened
