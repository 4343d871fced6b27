"""The settings: file, environment, defaults; and what a wrong one is told."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tocsin.errors import SettingsError
from tocsin.settings import Settings, find_settings_file, load_settings, origin, read_secret, variable
from tocsin.settings_file import read_settings_file
from tocsin.settings_keys import describe, is_secret, nearest


@pytest.fixture(autouse=True)
def _bare(monkeypatch, tmp_path):
    """No settings of the machine reach a test."""
    for name in [name for name in __import__("os").environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tocsin.settings.DEFAULT_FILES", ("tocsin.yaml",))


def load(text: str) -> Settings:
    Path("tocsin.yaml").write_text(text)
    return load_settings()


def failing(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(text)
    return str(caught.value).splitlines()


def test_no_file_is_enough():
    assert load_settings().store == "./tocsin-data"


def test_the_smallest_file_is_one_line():
    assert load("store: ./data").store == "./data"


def test_an_empty_file_is_enough():
    assert load("# nothing yet\n").domain == "default"


def test_every_key_has_help_and_a_default_that_keeps_its_bounds():
    Settings()
    for key in describe(Settings):
        assert key.help, key.name
        assert key.type, key.name


def test_the_environment_goes_before_the_file(monkeypatch):
    monkeypatch.setenv("TOCSIN_SAMPLING__SAMPLE_PERCENT", "20")
    monkeypatch.setenv("TOCSIN_PROTOCOLS", '["tcp"]')
    settings = load("sampling:\n  sample_percent: 5\n  sample_hour: 3\n")
    assert (settings.sampling.sample_percent, settings.sampling.sample_hour) == (20, 3)
    assert settings.protocols == ["tcp"]


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    settings = load("store: ~/flows\nlogging: {file: ~/log.jsonl}\n")
    assert settings.store == "/home/ada/flows"
    assert settings.logging.file == Path("/home/ada/log.jsonl")


UNKNOWN = {
    "domian: x": "tocsin.yaml:1: unknown key 'domian'; did you mean 'domain'?",
    "store: ./d\nsampling:\n  sample_hour: 1\n  sample_percents: 5\n": (
        "tocsin.yaml:4: unknown key 'sampling.sample_percents'; did you mean 'sampling.sample_percent'?"
    ),
    "sample_percent: 5": "tocsin.yaml:1: unknown key 'sample_percent'; did you mean 'sampling.sample_percent'?",
    "training: {parallel_protocols: true}": (
        "tocsin.yaml:1: unknown key 'training.parallel_protocols'; did you mean 'parallel_protocols'?"
    ),
    "sinks:\n- type: jsonl\n  path: a\n- type: jsonl\n  pth: b\n  path: c\n": (
        "tocsin.yaml:5: unknown key 'sinks.1.pth'; did you mean 'sinks.1.path'?"
    ),
    "zzzz: 1": "tocsin.yaml:1: unknown key 'zzzz'; `tocsin config schema` lists the keys",
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(text):
    assert failing(text) == [UNKNOWN[text]]


WRONG = {
    "sampling: {sample_percent: 120}": "sampling.sample_percent: input should be less than or equal to 100 (got 120)",
    "logging: {level: loud}": "logging.level: input should be 'error', 'warn', 'info', 'debug' or 'trace' (got 'loud')",
    "domain: a/b": "domain: string should match pattern",
    "verdict: {low: 99.5}": "verdict: cut-offs must ascend: low 99.5, medium 99.0",
    "verdict: {home_networks: [10.0.0.0/40]}": "'10.0.0.0/40' does not appear to be an IPv4 or IPv6 network",
    "sinks: [{path: x}]": "sinks.0.type: must be set",
    "sinks: [{type: jsonl}]": "sinks.0: a sink of type jsonl needs path",
    "sinks: [{type: webhook, url: example.org}]": "sinks.0: a sink of type webhook needs url",
    "sinks: [{type: syslog, secret: a, secret_file: b}]": "secret and secret_file are both set; keep one",
    "ledger: postgresql://x\nledger_file: y": "ledger and ledger_file are both set; keep one",
    "store: ftp://host/x": "store: must be a folder or s3://bucket/prefix (got 'ftp://host/x')",
    "store: s3://": "store: must be a folder or s3://bucket/prefix (got 's3://')",
    "store: ''": "store: must be a folder or s3://bucket/prefix; it is empty",
    "store: s3://one\ns3: {bucket: two}": "store is 's3://one' but s3.bucket is 'two'; keep one",
    "s3: {access_key_id_file: k}": "access_key_id_file and secret_access_key_file go together",
    "s3: {endpoint: 'minio:9000'}": "endpoint must begin with http:// or https:// (got 'minio:9000')",
    "store: [": "no valid YAML",
    "- a\n- b": "must hold keys and values",
    "store: a\ndomain: b\nstore: c": "tocsin.yaml:3: key 'store' stands already on line 1",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_value_is_told_where_and_what_is_allowed(text):
    (line,) = failing(text)
    assert line.startswith("tocsin.yaml")
    assert WRONG[text] in line


def test_all_problems_are_told_at_once():
    assert len(failing("domian: x\nsampling: {sample_hour: 24}\nfeatures: {num_bins: 1}")) == 3


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("TOCSIN_SAMPLING__SAMPLE_HOUR", "25")
    (line,) = failing("store: ./d")
    assert line.startswith("environment TOCSIN_SAMPLING__SAMPLE_HOUR: sampling.sample_hour: input should be less")


def test_a_list_in_the_environment_must_be_json(monkeypatch):
    monkeypatch.setenv("TOCSIN_PROTOCOLS", "tcp,udp")
    (line,) = failing("store: ./d")
    assert line.startswith("environment TOCSIN_PROTOCOLS: must be JSON")


def test_a_secret_is_never_in_a_message():
    lines = failing("ledger: [hunter2]\nsinks: [{type: webhook, url: 'https://x', secret: [hunter2]}]")
    assert len(lines) == 2
    assert "hunter2" not in "".join(lines)


def test_a_missing_file_is_one_line():
    with pytest.raises(SettingsError, match=r"^nowhere.yaml: No such file or directory$"):
        load_settings(Path("nowhere.yaml"))


def test_a_file_that_is_no_text_is_one_line():
    Path("tocsin.yaml").write_bytes(b"store: \xff\xfe")
    with pytest.raises(SettingsError, match="no text in UTF-8"):
        load_settings()


def test_origins(monkeypatch):
    monkeypatch.setenv("TOCSIN_TRAINING__SEED", "4")
    load("store: ./d\nsinks:\n  - type: jsonl\n    path: x\n")
    file = find_settings_file()
    assert origin("store", file) == "tocsin.yaml:1"
    assert origin("sinks.0.path", file) == "tocsin.yaml:4"
    assert origin("training.seed", file) == "environment TOCSIN_TRAINING__SEED"
    assert origin("domain", file) == "default"
    assert origin("sampling.sample_hour", file, {"TOCSIN_SAMPLING": "{}"}) == "environment TOCSIN_SAMPLING"


def test_secrets_come_from_the_value_or_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("from file\n")
    assert read_secret(SecretStr("given"), None, "k") == "given"
    assert read_secret(None, file, "k") == "from file"
    assert read_secret(None, None, "k") is None
    with pytest.raises(SettingsError, match=r"k: cannot read .*gone"):
        read_secret(None, tmp_path / "gone", "k")


def test_keys_are_described_in_words():
    keys = {key.name: key for key in describe(Settings)}
    percent = keys["sampling.sample_percent"]
    assert (percent.type, percent.default, percent.bounds, percent.unit) == ("number", 10.0, "≥ 0, ≤ 100", "percent")
    assert keys["sinks[].type"].type == "one of jsonl, parquet, webhook, syslog, notice"
    assert keys["training.train_minute"].type == "integer or nothing"
    assert "s3" not in keys


def test_secrets_are_known_by_their_place():
    assert is_secret(Settings, ("ledger",))
    assert is_secret(Settings, ("sinks", 3, "secret"))
    assert not is_secret(Settings, ("store",))


def test_nearest_knows_nothing_like_it():
    assert nearest(Settings, ("qqqq",)) is None
    assert nearest(Settings, ("nowhere", "seeed")) == "training.seed"


def test_variables_are_named_after_keys():
    assert variable("s3.http_retries") == "TOCSIN_S3__HTTP_RETRIES"


def test_no_file_has_no_lines():
    assert read_settings_file(None).place("store") is None


def test_a_part_that_holds_itself_is_refused():
    assert failing("store: ./data\nsinks: &a [*a]\n") == ["tocsin.yaml: a part of it holds itself, or too many others"]
