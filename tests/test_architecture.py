"""The import rule of ARCHITECTURE.md, held over the sources; each rule is shown a tree that breaks it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import tocsin

PACKAGE = Path(tocsin.__file__).parent

LAYERS: list[set[str]] = [
    {"errors", "clock", "levels"},
    {"records", "kernels"},
    {
        *("store", "source", "detector", "sink"),
        *("settings", "settings_file", "settings_keys", "settings_section", "settings_serve", "settings_sinks"),
        *("settings_novelty", "settings_summaries"),
    },
    {"stores", "sources", "detectors", "sinks", "ledger"},
    {"lifecycle", "verdict"},
    {"jobs", "cluster"},
    {"serve"},
    {"app", "app_serve", "app_watch", "cli", "testing", "__main__"},
]
"""Lowest first. A part imports from its own folder and from lower layers, never sideways or up."""

SIDEWAYS = {
    ("records", "kernels"),
    ("cli", "app"),
    ("cli", "app_serve"),
    ("cli", "app_watch"),
    ("app_serve", "app"),
    ("app_watch", "app"),
    # A watch joins an engine with what it reads and what it finds.
    ("jobs", "cluster"),
    ("__main__", "cli"),
    # A model is kept together with the calibration of its scores.
    ("lifecycle", "verdict"),
    # A contract may speak of another contract: a sink's settings, the store a detector's state lies in.
    *((one, other) for one in LAYERS[2] for other in LAYERS[2]),
}

KERNEL_USERS = {"detectors", "records", "kernels"}

CLIENTS: dict[str, tuple[str, ...]] = {
    # What everything is made of.
    "numpy": ("*",),
    "pyarrow": ("*",),
    # Who may name whom.
    "apscheduler": ("jobs/*",),
    "click": ("cli/*",),
    "duckdb": ("records/sql.py", "records/bounded.py", "records/expressions.py", "records/selection.py"),
    "fastapi": ("serve/*",),
    "httpx2": ("sinks/webhook.py", "serve/oidc.py"),
    "jwt": ("serve/oidc.py",),
    "nfstream": ("sources/pcap.py",),
    "numba": ("kernels/*",),
    "obstore": ("stores/s3.py",),
    "orjson": ("serve/*", "cli/json_lines.py"),
    "prometheus_client": ("serve/metrics.py",),
    "psycopg": ("ledger/*",),
    "pydantic": ("settings*.py", "serve/*"),
    "pydantic_core": ("settings_summaries.py",),
    "pydantic_settings": ("settings.py",),
    "rich": ("cli/*",),
    "rich_click": ("cli/*",),
    "sklearn": ("detectors/outlier/*",),
    "sqlalchemy": ("ledger/*",),
    "starlette": ("serve/*",),
    "structlog": ("cli/logs.py",),
    "uvicorn": ("serve/protocol.py", "serve/server.py"),
    "yaml": ("settings_file.py",),
    "zstandard": ("sources/*",),
}
"""Third-party modules, and the files (below src/tocsin) that may import them. What is not here may not be imported."""

PICKLES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "base", "misc"}


def complaints(root: Path) -> list[str]:
    """Return what in the package at `root` breaks the rule, one line each: file, line, what."""
    found = []
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root).as_posix()
        parts = (*path.relative_to(root).parts[:-1], path.stem)
        found += [f"{file}: {part!r} says nothing; name it after what it does" for part in parts if part in EMPTY_NAMES]
        tree = ast.parse(path.read_text(), file)
        found += [f"{file}:{line}: {problem}" for line, module in _imports(tree) if (problem := _judge(file, module))]
        found += [f"{file}:{line}: allow_pickle=True" for line in _unpickling(tree)]
    return found


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every import, lazy and type-only ones too, as its full dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            else:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _unpickling(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield node.value.lineno


def _judge(file: str, module: str) -> str | None:
    top, *rest = module.split(".")
    if not top:
        return "relative import"
    if top in PICKLES:
        return f"imports {top}: state is never a pickle"
    if top == "tocsin":
        return _judge_own(file, rest)
    if top in sys.stdlib_module_names:
        return None
    if not any(fnmatch(file, pattern) for pattern in CLIENTS.get(top, ())):
        allowed = ", ".join(CLIENTS.get(top, ())) or "nowhere"
        return f"imports {top}, which is allowed in: {allowed}"
    return None


def _judge_own(file: str, target: list[str]) -> str | None:
    here = file.removesuffix(".py").split("/")
    if not target or _layer(target[0]) is None:
        return None if _is_attribute_of_root(target) else f"imports tocsin.{'.'.join(target)}, which has no layer"
    if here == ["__init__"]:
        return f"the root package imports tocsin.{target[0]}; it must stay light"
    own, other = _layer(here[0]), _layer(target[0])
    if own is None:
        return f"{here[0]!r} has no layer"
    if target[0] == "kernels" and here[0] not in KERNEL_USERS:
        return "only detectors and records import kernels"
    if here[0] == target[0]:
        if here[0] == "detectors" and len(here) > 2 and len(target) > 1 and here[1] != target[1]:
            return f"room detectors/{here[1]} imports room detectors/{target[1]}"
        return None
    if (here[0], target[0]) in SIDEWAYS:
        return None
    assert other is not None
    if other > own:
        return f"{here[0]} imports {target[0]}, which is above it"
    if other == own:
        return f"{here[0]} imports {target[0]}, which stands beside it"
    return None


def _is_attribute_of_root(target: list[str]) -> bool:
    return target in ([], ["__version__"])


def _layer(name: str) -> int | None:
    return next((level for level, names in enumerate(LAYERS) if name in names), None)


def test_the_sources_keep_the_rule():
    assert complaints(PACKAGE) == []


FAULTS = {
    "up": ("store.py", "from tocsin.stores.folder import FolderStore", "store imports stores, which is above it"),
    "up, lazily": ("records/flow.py", "def f():\n    import tocsin.app", "records imports app, which is above it"),
    "up, for types only": (
        "jobs/train.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tocsin.serve import metrics",
        "jobs imports serve, which is above it",
    ),
    "room to room": (
        "sources/zeek.py",
        "from tocsin.stores import folder",
        "sources imports stores, which stands beside it",
    ),
    "detector to detector": (
        "detectors/outlier/hbos.py",
        "from tocsin.detectors.series.model import M",
        "room detectors/outlier imports room detectors/series",
    ),
    "kernels from a job": (
        "jobs/score.py",
        "import tocsin.kernels.histogram",
        "only detectors and records import kernels",
    ),
    "kernels up to records": ("kernels/x.py", "from tocsin.records.flow import FLOW", "which stands beside it"),
    "client in the wrong file": (
        "jobs/train.py",
        "import obstore",
        "imports obstore, which is allowed in: stores/s3.py",
    ),
    "client nobody listed": (
        "cli/demo.py",
        "from pandas import DataFrame",
        "imports pandas, which is allowed in: nowhere",
    ),
    "pickle": ("lifecycle/registry.py", "import joblib", "imports joblib: state is never a pickle"),
    "pickle by numpy": ("detector.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
    "empty name": ("jobs/utils.py", "", "'utils' says nothing"),
    "empty folder name": ("common/flow.py", "", "'common' says nothing"),
    "relative": ("jobs/score.py", "from . import train", "relative import"),
    "no layer": ("jobs/score.py", "import tocsin.attic", "imports tocsin.attic, which has no layer"),
    "heavy root": ("__init__.py", "from tocsin.app import App", "it must stay light"),
    "testing used by the product": (
        "cli/demo.py",
        "from tocsin.testing.clock import FakeClock",
        "which stands beside it",
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_is_seen(fault, tmp_path):
    file, text, expected = FAULTS[fault]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (complaint,) = complaints(tmp_path)
    assert complaint.startswith(file)
    assert expected in complaint


SOUND = {
    "app.py": "from tocsin.stores.folder import FolderStore\nfrom tocsin.verdict.verdict import Verdict",
    "cli/run.py": "import rich_click as click\nfrom tocsin.app import App\nfrom tocsin.cli.output import print_table",
    "detectors/outlier/hbos.py": "import numpy\nfrom tocsin.kernels.histogram import fill\nimport sklearn.ensemble",
    "records/community.py": "from tocsin.kernels.hash import sha1\nfrom tocsin import __version__",
    "ledger/tables.py": "import sqlalchemy as sa\nfrom tocsin.records.finding import Finding",
    "sink.py": "from tocsin.settings import SinkSettings",
}


def test_a_sound_tree_passes(tmp_path):
    for file, text in SOUND.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert complaints(tmp_path) == []


HEAVY = ("numba", "pyarrow", "sqlalchemy", "duckdb", "sklearn", "obstore", "scipy")


@pytest.mark.parametrize(
    "code",
    [
        "import tocsin",
        "import sys; sys.argv = ['tocsin', '--help']\nfrom tocsin.cli import cli\ncli(standalone_mode=False)",
        "import sys; sys.argv = ['tocsin', '-v', '-h']\nfrom tocsin.cli import cli\ncli(standalone_mode=False)",
        "import sys; sys.argv = ['tocsin', '--version']\nfrom tocsin.cli import cli\ncli(standalone_mode=False)",
    ],
    ids=["import", "--help", "-v -h", "--version"],
)
def test_nothing_heavy_is_imported_before_a_command_needs_it(code):
    probe = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []"
