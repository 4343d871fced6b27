"""The registry: a named model's versions in the store, with the aliases `candidate` and `production`.

`<domain>/models/<name>/<digest>.npz` holds a version's state and never changes; `index.json` beside it, changed by
compare-and-swap, says which versions there are, what is known of each, and which one is served.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tocsin.detector import State, dump_state, load_state
from tocsin.errors import ModelError
from tocsin.records.finding import rfc3339
from tocsin.store import Store, read_json, update_json

INDEX_FORMAT = 1


@dataclass(frozen=True)
class Version:
    """What is known of one version of a model.

    number: 1, 2, …; digest: of its state, and its object's name. algorithm, fields, seed: how it was made.
    dates, rows: from which days and how many rows. metrics: figures that the gate looked at.
    inputs: a digest of the data and settings it was made from.
    verdict: 'good', or 'rejected' with `why`.
    """

    number: int
    digest: str
    algorithm: str
    created: str
    dates: list[str]
    rows: int
    fields: list[str]
    seed: int
    inputs: str
    verdict: str
    why: str
    metrics: dict[str, float] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How people and score files call it: v3."""
        return f"v{self.number}"


@dataclass(frozen=True)
class Fitted:
    """A new model before it has a number: its state and what is known of it."""

    state: State
    algorithm: str
    dates: list[str]
    rows: int
    fields: list[str]
    seed: int
    inputs: str
    metrics: dict[str, float]


class Registry:
    """The models of one domain."""

    def __init__(self, store: Store, domain: str, *, keep_versions: int = 10) -> None:
        self._store = store
        self._root = f"{domain}/models"
        self._keep = keep_versions

    def names(self) -> list[str]:
        """Return the names of all models, in order."""
        infos = self._store.list(f"{self._root}/")
        return sorted({info.path.split("/")[-2] for info in infos if info.path.endswith("/index.json")})

    def versions(self, name: str) -> list[Version]:
        """Return a model's versions, newest first, each with its aliases."""
        index, _ = read_json(self._store, self._index(name))
        if index is None:
            return []
        served = index["aliases"]
        return [
            Version(**entry, aliases=[alias for alias, number in served.items() if number == entry["number"]])
            for entry in reversed(index["versions"])
        ]

    def production(self, name: str) -> Version | None:
        """Return the version that is served, or None."""
        return next((version for version in self.versions(name) if "production" in version.aliases), None)

    def find(self, name: str, version: str) -> Version:
        """Return a version by its name (v3 or 3) or an alias. Raises ModelError."""
        versions = self.versions(name)
        for found in versions:
            if version in (found.name, str(found.number), found.digest, *found.aliases):
                return found
        known = ", ".join(found.name for found in versions) or "none"
        raise ModelError(f"model {name!r} has no version {version!r}; it has {known}")

    def load(self, name: str, version: Version) -> State:
        """Return a version's state. Raises ModelError when it is damaged."""
        data = self._store.get(self._object(name, version.digest)).data
        if _digest(data) != version.digest:
            raise ModelError(f"{self._store.url(self._object(name, version.digest))} is damaged: its digest differs")
        return load_state(data)

    def add(self, name: str, fitted: Fitted, *, created: datetime, verdict: str, why: str) -> Version:
        """Keep a new version; a good one becomes production, a rejected one only candidate.

        The same state as the newest version's adds nothing, so that a repeated run changes nothing.
        """
        data = dump_state(fitted.state)
        digest = _digest(data)
        self._store.put(self._object(name, digest), data)

        def change(index: dict[str, Any]) -> dict[str, Any] | None:
            versions = index.setdefault("versions", [])
            aliases = index.setdefault("aliases", {})
            index["format"] = INDEX_FORMAT
            if versions and versions[-1]["digest"] == digest and versions[-1]["verdict"] == verdict:
                return None
            number = versions[-1]["number"] + 1 if versions else 1
            known = asdict(fitted)
            del known["state"]
            versions.append(
                {
                    **known,
                    "number": number,
                    "digest": digest,
                    "created": rfc3339(created),
                    "verdict": verdict,
                    "why": why,
                }
            )
            aliases["candidate"] = number
            if verdict == "good":
                aliases["production"] = number
            return index

        self._change(name, change)
        self._prune(name)
        return self.versions(name)[0]

    def promote(self, name: str, version: Version) -> None:
        """Serve this version."""

        def change(index: dict[str, Any]) -> dict[str, Any]:
            index["aliases"]["production"] = version.number
            return index

        self._change(name, change)

    def rollback(self, name: str) -> Version:
        """Serve the newest good version before the one that is served. Raises ModelError when there is none."""
        served = self.production(name)
        if served is None:
            raise ModelError(f"model {name!r} has no version in production; `tocsin models list` shows what there is")
        for version in self.versions(name):
            if version.number < served.number and version.verdict == "good":
                self.promote(name, version)
                return version
        raise ModelError(f"model {name!r} has no good version before {served.name}")

    def _prune(self, name: str) -> None:
        gone: list[str] = []

        def change(index: dict[str, Any]) -> dict[str, Any]:
            gone.clear()
            served = set(index["aliases"].values())
            old = index["versions"][: -self._keep]
            gone.extend(entry["digest"] for entry in old if entry["number"] not in served)
            index["versions"] = [entry for entry in index["versions"] if entry["digest"] not in gone]
            return index

        self._change(name, change)
        for digest in gone:
            self._store.delete(self._object(name, digest))

    def _change(self, name: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        update_json(self._store, self._index(name), change)

    def _index(self, name: str) -> str:
        return f"{self._root}/{name}/index.json"

    def _object(self, name: str, digest: str) -> str:
        return f"{self._root}/{name}/{digest}.npz"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
