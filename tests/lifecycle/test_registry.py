"""The registry keeps versions, serves the newest good one, and goes back when told."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tocsin.errors import ModelError
from tocsin.lifecycle.registry import Fitted, Registry, Version
from tocsin.stores.folder import FolderStore

NOW = datetime(2025, 1, 8, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(FolderStore(tmp_path), "site", keep_versions=3)


def add(registry: Registry, value: float, *, verdict: str = "good", why: str = "") -> Version:
    state = {"format": 1, "weights": np.array([value])}
    fitted = Fitted(state, "hbos", ["2025-01-07"], 10, ["dur"], 0, f"inputs-{value}", {})
    return registry.add("tcp", fitted, created=NOW, verdict=verdict, why=why)


def test_newest_good_version_is_served(registry: Registry) -> None:
    add(registry, 1)
    second = add(registry, 2)
    add(registry, 3, verdict="rejected", why="a poor day")
    served = registry.production("tcp")
    assert served is not None
    assert served.name == second.name == "v2"
    assert [version.why for version in registry.versions("tcp")] == ["a poor day", "", ""]
    assert registry.load("tcp", served)["weights"].tolist() == [2.0]


def test_same_state_adds_no_version(registry: Registry) -> None:
    assert add(registry, 1).number == add(registry, 1).number == 1


def test_rollback_serves_the_good_version_before(registry: Registry) -> None:
    add(registry, 1)
    add(registry, 2)
    assert registry.rollback("tcp").name == "v1"
    with pytest.raises(ModelError, match="no good version before v1"):
        registry.rollback("tcp")


def test_old_versions_go_but_never_the_served_one(registry: Registry) -> None:
    for value in range(1, 6):
        add(registry, value, verdict="good" if value == 1 else "rejected", why="poor")
    assert [version.number for version in registry.versions("tcp")] == [5, 4, 3, 1]
    served = registry.production("tcp")
    assert served is not None
    assert registry.load("tcp", served)["weights"].tolist() == [1.0]


def test_damaged_state_is_refused(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, 1)
    path = tmp_path / f"site/models/tcp/{version.digest}.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        registry.load("tcp", version)


def test_unknown_version_names_those_there_are(registry: Registry) -> None:
    add(registry, 1)
    with pytest.raises(ModelError, match="it has v1"):
        registry.find("tcp", "v9")
