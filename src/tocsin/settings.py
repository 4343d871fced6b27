"""The settings: one YAML file, every key with its default, bound, unit and help.

The smallest file is one line, `store: ./data`; no file at all means `store: ./tocsin-data`.
Any key can be overridden by the environment: TOCSIN_SAMPLING__SAMPLE_PERCENT=20; lists and maps there are JSON.
Relative paths count from the folder the command is run in, `~` is the user's home.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic_settings
from pydantic import SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tocsin.errors import SettingsError
from tocsin.settings_file import SettingsFile, read_settings_file
from tocsin.settings_keys import is_secret, nearest
from tocsin.settings_novelty import NoveltySettings
from tocsin.settings_section import LocalPath, Percent, Section, at_home, one_of, setting
from tocsin.settings_serve import ServeSettings
from tocsin.settings_sinks import SinkSettings
from tocsin.settings_summaries import SummarySettings

ENV_PREFIX = "TOCSIN_"
DEFAULT_FILES = ("tocsin.yaml", "/etc/tocsin/tocsin.yaml")


class S3Settings(Section):
    """An S3 bucket, used when `store` is s3://… or `bucket` is set; credentials by environment, profile or file."""

    bucket: str = setting("", "bucket; empty means the store is the folder in `store`")
    prefix: str = setting("", "folder inside the bucket")
    region: str = setting("us-east-1", "region")
    endpoint: str = setting("", "URL of an S3-compatible server; empty means AWS")
    profile: str = setting("", "profile in ~/.aws/credentials; empty means environment, then instance role")
    access_key_id_file: LocalPath | None = setting(None, "file that holds the access key id")
    secret_access_key_file: LocalPath | None = setting(None, "file that holds the secret access key")
    url_style: Literal["path", "virtual"] = setting("path", "bucket in the path or in the host name")
    http_retries: int = setting(10, "attempts after the first", ge=0, le=100)
    http_retry_wait_ms: int = setting(2000, "wait before the first retry", unit="milliseconds", ge=1, le=600_000)
    http_retry_backoff: float = setting(2.0, "factor by which each wait grows", ge=1, le=10)
    timeout_s: float = setting(30.0, "limit of one request", unit="seconds", gt=0, le=3600)

    @model_validator(mode="after")
    def _whole_credentials(self) -> "S3Settings":
        if (self.access_key_id_file is None) != (self.secret_access_key_file is None):
            raise ValueError("access_key_id_file and secret_access_key_file go together; set both or neither")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"endpoint must begin with http:// or https:// (got {self.endpoint!r})")
        return self


class IngestSettings(Section):
    """How files become flows in the lake."""

    csv: dict[str, dict[str, str]] = setting(
        {},
        "CSV column maps by name: {netflow: {stime: StartTime, saddr: SrcAddr, …}}; chosen by `--format csv:netflow`",
    )
    rename: dict[str, str] = setting({}, "Parquet columns to rename: theirs -> ours, {src_ip: saddr}")
    chunk_mb: int = setting(64, "input read before a lake file is written", unit="MiB", ge=1, le=1024)
    follow_flush_s: float = setting(30.0, "how often `--follow` writes what it has", unit="seconds", gt=0, le=3600)
    workers: int = setting(2, "threads that parse", ge=1, le=64)


class SamplingSettings(Section):
    """Which rows become the baseline, and when."""

    sample_percent: Percent = setting(10.0, "share of a day's rows that is kept", unit="percent")
    small_day_rows: int = setting(
        5000,
        "a protocol with fewer flows a day is sampled whole, with somewhat more in a larger share",
        unit="rows",
        ge=0,
    )
    retention_days: int = setting(
        7, "days of samples kept, counted from the newest day in the lake", unit="days", ge=1, le=3650
    )
    sample_hour: int = setting(0, "UTC hour of the daily sample", ge=0, le=23)
    sample_minute: int | None = setting(None, "its minute; chosen at random once at start when unset", ge=0, le=59)
    exclude_severity: Literal["low", "medium", "high", "critical", "none"] = setting(
        "high", "rows behind findings of this severity or above are left out of samples"
    )


class FeatureSettings(Section):
    """How values become comparable."""

    fields: list[str] = setting([], "fields used; empty means the default set of the record kind")
    exclude: list[str] = setting([], "fields never used")
    num_bins: int = setting(10, "bins of a numeric field", ge=2, le=1024)
    histogram_type: Literal["quantile", "equal_width"] = setting("quantile", "bins of equal count, or of equal width")
    ipv4_prefix: int = setting(24, "address bits kept of IPv4", unit="bits", ge=0, le=32)
    ipv6_prefix: int = setting(48, "address bits kept of IPv6", unit="bits", ge=0, le=128)
    ip_hash_modulus: int = setting(
        65536, "most distinct values of a categorical field that are told apart", ge=16, le=16_777_216
    )
    sample_days: int = setting(7, "newest days of samples that are used", unit="days", ge=1, le=3650)


class RankingSettings(Section):
    """Which fields a model may use."""

    enabled: bool = setting(True, "leave out fields that say nothing")
    top_n: int = setting(24, "most fields a model uses", ge=1, le=1000)
    min_importance: float = setting(0.0, "least importance of a field that is used", ge=0, le=1)


class TrainingSettings(Section):
    """How models are made, and when."""

    algorithm: Literal["hbos", "iforest", "autoencoder", "hybrid"] = setting("hbos", "what is trained and served")
    train_hour: int = setting(1, "UTC hour of the daily training", ge=0, le=23)
    train_minute: int | None = setting(None, "its minute; chosen at random once at start when unset", ge=0, le=59)
    min_rows: int = setting(200, "fewest sampled rows a model is trained on", unit="rows", ge=1)
    min_days: int = setting(1, "fewest sampled days a model is trained on", unit="days", ge=1)
    max_unusual_percent: Percent = setting(
        25.0,
        "a sample of which the served model finds a larger share unusual is a poor day and makes no new model",
        unit="percent",
    )
    keep_versions: int = setting(10, "versions of a model that are kept", ge=2, le=1000)
    seed: int = setting(0, "seed of everything random in training")


class ScoringSettings(Section):
    """How flows are scored."""

    interval_s: float = setting(300.0, "pause between looks of `score --continuous`", unit="seconds", gt=0, le=86_400)
    in_run: bool = setting(True, "the daemon scores too, after each training")
    retention_days: int = setting(
        30, "days of flow scores, host profiles and host scores kept", unit="days", ge=1, le=3650
    )
    top_reasons: int = setting(3, "reasons kept with each scored flow", ge=1, le=16)
    min_score: Percent = setting(0.0, "flows that score lower are left out of the score files")
    reputation_file: LocalPath | None = setting(
        None, "Parquet of bad addresses for `hybrid`: ip_address, abuse_confidence_score"
    )


class FingerprintSettings(Section):
    """What is learned of hosts' TLS and TCP fingerprints."""

    enabled: bool = setting(True, "build and use fingerprint profiles where the flows have fingerprints")
    history_days: int = setting(7, "days that make a host's profile", unit="days", ge=1, le=3650)
    client_field: str = setting("ndpi_ja4", "column with the client's fingerprint")
    server_field: str = setting("ndpi_ja3s", "column with the server's fingerprint")
    min_observations: int = setting(10, "flows of a host before it is judged", unit="flows", ge=1)
    anomaly_threshold: float = setting(0.7, "novelty from which a change is reported", ge=0, le=1)
    max_fingerprints_per_host: int = setting(5, "more than so many fingerprints on one host are suspicious", ge=1)
    detect_suspicious: bool = setting(True, "report hosts with too many fingerprints")


class VerdictSettings(Section):
    """What becomes a finding."""

    low: Percent = setting(95.0, "least score of severity low")
    medium: Percent = setting(99.0, "least score of severity medium")
    high: Percent = setting(99.9, "least score of severity high")
    critical: Percent = setting(99.99, "least score of severity critical")
    min_severity: Literal["info", "low", "medium", "high", "critical"] = setting(
        "medium", "findings below this are not kept"
    )
    noise_budget: int = setting(
        20, "most new findings a day a detector; the highest scores are kept, the rest counted", ge=1
    )
    warm_up_rows: int = setting(
        200, "rows a protocol's model has learned from before its scores make findings", unit="records", ge=0
    )
    home_networks: list[str] = setting(
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"],
        "networks that are ours, besides those seen",
    )

    @field_validator("home_networks")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @model_validator(mode="after")
    def _ascending(self) -> "VerdictSettings":
        if not self.low <= self.medium <= self.high <= self.critical:
            cut_offs = f"low {self.low}, medium {self.medium}, high {self.high}, critical {self.critical}"
            raise ValueError(f"cut-offs must ascend: {cut_offs}")
        return self


class WatchSettings(Section):
    """How `tocsin watch` and `tocsin backtest` run the summaries."""

    workers: int = setting(1, "processes that count; 1 counts in the process itself", ge=1, le=64)
    checkpoint_s: float = setting(
        10.0, "how often what was read and counted is kept, to go on from", unit="seconds", gt=0, le=3600
    )
    patience_s: float = setting(
        30.0, "how long an epoch waits for a worker that is silent", unit="seconds", gt=0, le=3600
    )


class LoggingSettings(Section):
    """What is told, and where."""

    level: Literal["error", "warn", "info", "debug", "trace"] = setting(
        "info", "least important message that is written"
    )
    file: LocalPath | None = setting(None, "log file; standard error (the journal, under systemd) when unset")
    format: Literal["auto", "console", "json"] = setting("auto", "auto: console on a terminal, JSON lines elsewhere")


class MetricsSettings(Section):
    """Prometheus metrics of the daemon."""

    enabled: bool = setting(True, "serve metrics while the daemon runs")
    host: str = setting("127.0.0.1", "address to listen on; anything but loopback shows metrics to the network")
    port: int = setting(9464, "port to listen on", ge=0, le=65535)


class LimitSettings(Section):
    """What the machine may give."""

    memory_mb: int = setting(1024, "memory of one query; more spills to disk", unit="MiB", ge=64)
    threads: int = setting(2, "threads of one query or kernel", ge=1, le=256)
    temp_dir: LocalPath | None = setting(None, "where queries spill; the system's temporary folder when unset")
    claim_expiry_s: float = setting(
        120.0, "a claim not renewed for so long is free again", unit="seconds", ge=1, le=86_400
    )


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    store: str = setting("./tocsin-data", "folder, or s3://bucket/prefix, that keeps lake, models and state")
    domain: str = setting(
        "default",
        "name of the group of sensors; the first folder below the store",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    )
    ledger: SecretStr | None = setting(None, "database URL of findings and jobs; SQLite beside the store when unset")
    ledger_file: LocalPath | None = setting(None, "file that holds the database URL")
    protocols: list[str] = setting(
        [], "protocols with a model of their own; empty means each one seen with enough rows"
    )
    parallel_protocols: bool = setting(False, "work on protocols side by side: faster, more memory")
    s3: S3Settings = S3Settings()
    ingest: IngestSettings = IngestSettings()
    sampling: SamplingSettings = SamplingSettings()
    features: FeatureSettings = FeatureSettings()
    ranking: RankingSettings = RankingSettings()
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()
    fingerprint: FingerprintSettings = FingerprintSettings()
    verdict: VerdictSettings = VerdictSettings()
    sinks: list[SinkSettings] = setting([], "where findings are delivered")
    summaries: list[SummarySettings] = setting([], "what is counted a key, and when it is too much")
    novelty: list[NoveltySettings] = setting([], "which values of which records are learned, and how novel is told")
    watch: WatchSettings = WatchSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    serve: ServeSettings = ServeSettings()
    limits: LimitSettings = LimitSettings()

    @field_validator("store")
    @classmethod
    def _place(cls, store: str) -> str:
        scheme, separator, rest = store.partition("://")
        if separator and (scheme != "s3" or not rest.strip("/")):
            raise ValueError(f"must be a folder or s3://bucket/prefix (got {store!r})")
        if not store.strip():
            raise ValueError("must be a folder or s3://bucket/prefix; it is empty")
        return str(at_home(Path(store))) if store.startswith("~") else store

    @model_validator(mode="after")
    def _agreeing(self) -> "Settings":
        one_of(self.ledger, self.ledger_file, "ledger")
        if (
            self.store.startswith("s3://")
            and self.s3.bucket
            and self.store.removeprefix("s3://").split("/")[0] != self.s3.bucket
        ):
            raise ValueError(f"store is {self.store!r} but s3.bucket is {self.s3.bucket!r}; keep one")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file."""
        return env_settings, init_settings


def find_settings_file(path: Path | None = None) -> SettingsFile:
    """Read this file, or the first of the default files that exists, or none. Raises SettingsError."""
    return read_settings_file(path or next((Path(name) for name in DEFAULT_FILES if Path(name).is_file()), None))


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings from a file (or the first of the default files that exists) and the environment.

    Raises SettingsError with a line for each problem: file and line or variable, key, value and what is allowed.
    """
    file = find_settings_file(path)
    try:
        settings = Settings(**file.values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(file, item) for item in error.errors())) from error
    except pydantic_settings.SettingsError as error:
        field = str(error).split('"')[1]
        raise SettingsError(
            f'environment {variable(field)}: must be JSON, such as ["tcp", "udp"] or {{"key": "value"}}'
        ) from error
    return settings


def variable(key: str) -> str:
    """Return the environment variable that overrides a dotted key."""
    return ENV_PREFIX + key.replace(".", "__").upper()


def origin(key: str, file: SettingsFile, environ: Mapping[str, str] | None = None) -> str:
    """Say where a key's value comes from: `environment VARIABLE`, `file:line` or `default`.

    A section or list given whole in the environment (as JSON) is the origin of the keys in it.
    """
    names = {name.upper(): name for name in (os.environ if environ is None else environ)}
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        if (name := variable(".".join(parts[:end]))) in names:
            return f"environment {names[name]}"
    return file.place(key) or "default"


def read_secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    """Return a secret given in the settings or in a file. Raises SettingsError when that cannot be read."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{key}: cannot read {file}: {error.strerror}") from error


def _explain(file: SettingsFile, item: Any) -> str:
    location = item["loc"]
    key = ".".join(str(part) for part in location)
    where = origin(key, file) if key else str(file.path or "settings")
    where = "settings" if where == "default" else where
    if item["type"] == "extra_forbidden":
        near = nearest(Settings, location)
        hint = f"did you mean {near!r}?" if near else "`tocsin config schema` lists the keys"
        return f"{where}: unknown key {key!r}; {hint}"
    key = f"{key}: " if key else ""
    if item["type"] == "missing":
        return f"{where}: {key}must be set"
    if item["type"] == "value_error":
        return f"{where}: {key}{item['msg'].removeprefix('Value error, ')}"
    got = "" if is_secret(Settings, location) else f" (got {item['input']!r})"
    return f"{where}: {key}{item['msg'][0].lower()}{item['msg'][1:]}{got}"
