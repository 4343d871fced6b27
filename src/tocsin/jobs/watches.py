"""What the watches of a domain have done: those that run, and those that were kept."""

import glob
from contextlib import suppress
from pathlib import Path
from typing import Any

from tocsin.cluster.control import ask
from tocsin.errors import TocsinError
from tocsin.jobs.kept import last_tally
from tocsin.store import Store

CHECKPOINT = ".checkpoint"
"""How the name of an object ends that a watch is kept in."""


def watches(store: Store, domain: str, home: Path) -> dict[str, dict[str, Any]]:
    """Return what each watch has done, by name: of those that run, now; of the others, when they were last kept."""
    found = {}
    for info in store.list(f"{domain}/watch/"):
        name = info.path.rpartition("/")[2].removesuffix(CHECKPOINT)
        if info.path.endswith(CHECKPOINT) and (tally := last_tally(store, info.path)) is not None:
            found[name] = {"running": False, **tally}
    for path in (home / "watch").glob(f"{glob.escape(domain)}.*.sock"):
        name = path.name.removeprefix(f"{domain}.").removesuffix(".sock")
        with suppress(TocsinError):
            found[name] = {"running": True, **ask(path, {"do": "status"}, timeout_s=5.0)}
    return found
