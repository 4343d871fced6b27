"""What is shipped for deployment agrees with the program: settings load, commands and options exist, keys are known."""

import re
import shlex
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from tocsin.cli import COMMANDS
from tocsin.settings import Settings, load_settings, variable
from tocsin.settings_keys import describe

PROJECT = Path(__file__).parents[1]
EXAMPLES = sorted((PROJECT / "examples").glob("*.yaml"))
UNITS = sorted((PROJECT / "deploy").glob("*.service"))
VARIABLES = {variable(key.name) for key in describe(Settings)}


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in [name for name in __import__("os").environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads(path):
    load_settings(path)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_commands_that_exist(path):
    unit = RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(path)
    service = dict(unit["Service"])
    assert (service["Type"], service["User"]) == ("simple", "tocsin")
    assert (service["Restart"], service["RestartSec"]) == ("on-failure", "10")
    for line in (service["ExecStart"], service.get("ExecStartPre", service["ExecStart"])):
        program, option, file, command, *_ = shlex.split(line)
        assert (program, option, file) == ("/opt/tocsin/bin/tocsin", "-c", "/etc/tocsin/tocsin.yaml")
        assert command in COMMANDS


def test_compose_names_commands_and_settings_that_exist():
    text = (PROJECT / "deploy" / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    assert {"tocsin", "ingest", "postgres", "s3", "bucket"} == set(services)
    assert services["tocsin"]["command"][0] in COMMANDS
    assert services["ingest"]["command"][0] in COMMANDS
    assert set(re.findall(r"TOCSIN_[A-Z0-9_]+(?=:\s)", text)) <= VARIABLES


def test_compose_tells_daemon_and_follower_the_same_store():
    text = (PROJECT / "deploy" / "compose.yaml").read_text()
    chosen = re.sub(r"^  # (?=[A-Z_0-9]+: )", "  ", text, flags=re.MULTILINE)
    services = yaml.safe_load(chosen)["services"]
    told = [services[name]["environment"] for name in ("tocsin", "ingest")]
    for name in ("TOCSIN_LEDGER_FILE", "TOCSIN_STORE", "TOCSIN_S3__ENDPOINT", "AWS_SECRET_ACCESS_KEY"):
        assert told[0][name] == told[1][name]
    bucket = told[0]["TOCSIN_STORE"].removeprefix("s3://").partition("/")[0]
    assert services["bucket"]["command"][-1] == f"s3/{bucket}"
    password = services["s3"]["environment"]["MINIO_ROOT_PASSWORD"]
    assert told[0]["AWS_SECRET_ACCESS_KEY"] == password
    assert password in services["bucket"]["environment"]["MC_HOST_s3"]


def test_the_image_installs_what_is_locked_and_is_not_root():
    text = (PROJECT / "deploy" / "Dockerfile").read_text()
    assert "--require-hashes -r requirements/runtime.lock" in text
    assert text.index("USER tocsin") < text.index("ENTRYPOINT")
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert (PROJECT / name).exists(), name


def test_the_locks_pin_every_declared_dependency():
    declared = (PROJECT / "pyproject.toml").read_text()
    names = [name.lower().replace("_", "-") for name in re.findall(r'^  "([A-Za-z0-9_-]+)', declared, re.MULTILINE)]
    runtime = names[names.index("apscheduler") : names.index("zstandard") + 1]
    locked = (PROJECT / "requirements" / "runtime.lock").read_text()
    missing = [name for name in runtime if not re.search(rf"^{name}(\[.*\])?==", locked, re.MULTILINE)]
    assert missing == [], "run `make lock`"
