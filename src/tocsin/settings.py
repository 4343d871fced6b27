"""The settings: one YAML file, every key with its default, bound, unit and help.

The smallest file is one line, `store: ./data`; no file at all means `store: ./tocsin-data`.
Any key can be overridden by the environment: TOCSIN_SAMPLING__SAMPLE_PERCENT=20.
"""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tocsin.errors import SettingsError

ENV_PREFIX = "TOCSIN_"
DEFAULT_FILES = ("tocsin.yaml", "/etc/tocsin/tocsin.yaml")


def _key(default: Any, help: str, *, unit: str = "", **bounds: Any) -> Any:
    """Declare a key: its default, its help, its unit and its bounds."""
    return Field(default, description=help, json_schema_extra={"unit": unit} if unit else None, **bounds)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


Percent = Annotated[float, Field(ge=0, le=100)]


class S3Settings(_Section):
    """An S3 bucket, used when `store` is s3://… or `s3.bucket` is set. Credentials come from the environment, a profile or files."""

    bucket: str = _key("", "bucket; empty means the store is the folder in `store`")
    prefix: str = _key("", "folder inside the bucket")
    region: str = _key("us-east-1", "region")
    endpoint: str = _key("", "URL of an S3-compatible server; empty means AWS")
    profile: str = _key("", "profile in ~/.aws/credentials; empty means environment, then instance role")
    access_key_id_file: Path | None = _key(None, "file that holds the access key id")
    secret_access_key_file: Path | None = _key(None, "file that holds the secret access key")
    url_style: Literal["path", "virtual"] = _key("path", "bucket in the path or in the host name")
    http_retries: int = _key(10, "attempts after the first", ge=0, le=100)
    http_retry_wait_ms: int = _key(2000, "wait before the first retry", unit="milliseconds", ge=1, le=600_000)
    http_retry_backoff: float = _key(2.0, "factor by which each wait grows", ge=1, le=10)
    timeout_s: float = _key(30.0, "limit of one request", unit="seconds", gt=0, le=3600)


class IngestSettings(_Section):
    """How files become flows in the lake."""

    csv: dict[str, dict[str, str]] = _key(
        {}, "CSV column maps by name: {netflow: {stime: StartTime, saddr: SrcAddr, …}}; chosen by `--format csv:netflow`"
    )
    rename: dict[str, str] = _key({}, "Parquet columns to rename: theirs -> ours, {src_ip: saddr}")
    chunk_mb: int = _key(64, "input read before a lake file is written", unit="MiB", ge=1, le=1024)
    follow_flush_s: float = _key(30.0, "how often `--follow` writes what it has", unit="seconds", gt=0, le=3600)
    workers: int = _key(2, "threads that parse", ge=1, le=64)


class SamplingSettings(_Section):
    """Which rows become the baseline, and when."""

    sample_percent: Percent = _key(10.0, "share of a day's rows that is kept", unit="percent")
    retention_days: int = _key(7, "days of samples kept, counted from the newest day in the lake", unit="days", ge=1, le=3650)
    sample_hour: int = _key(0, "UTC hour of the daily sample", ge=0, le=23)
    sample_minute: int | None = _key(None, "its minute; chosen at random once at start when unset", ge=0, le=59)
    exclude_severity: Literal["low", "medium", "high", "critical", "none"] = _key(
        "high", "rows behind findings of this severity or above are left out of samples"
    )


class FeatureSettings(_Section):
    """How values become comparable."""

    fields: list[str] = _key([], "fields used; empty means the default set of the record kind")
    exclude: list[str] = _key([], "fields never used")
    num_bins: int = _key(10, "bins of a numeric field", ge=2, le=1024)
    histogram_type: Literal["quantile", "equal_width"] = _key("quantile", "bins of equal count, or of equal width")
    ipv4_prefix: int = _key(24, "address bits kept of IPv4", unit="bits", ge=0, le=32)
    ipv6_prefix: int = _key(48, "address bits kept of IPv6", unit="bits", ge=0, le=128)
    ip_hash_modulus: int = _key(65536, "most distinct values of a categorical field that are told apart", ge=16, le=16_777_216)
    sample_days: int = _key(7, "newest days of samples that are used", unit="days", ge=1, le=3650)


class RankingSettings(_Section):
    """Which fields a model may use."""

    enabled: bool = _key(True, "leave out fields that say nothing")
    top_n: int = _key(24, "most fields a model uses", ge=1, le=1000)
    min_importance: float = _key(0.0, "least importance of a field that is used", ge=0, le=1)


class TrainingSettings(_Section):
    """How models are made, and when."""

    algorithm: Literal["hbos", "iforest", "autoencoder", "hybrid"] = _key("hbos", "what is trained and served")
    train_hour: int = _key(1, "UTC hour of the daily training", ge=0, le=23)
    train_minute: int | None = _key(None, "its minute; chosen at random once at start when unset", ge=0, le=59)
    min_rows: int = _key(200, "fewest sampled rows a model is trained on", unit="rows", ge=1)
    min_days: int = _key(1, "fewest sampled days a model is trained on", unit="days", ge=1)
    keep_versions: int = _key(10, "versions of a model that are kept", ge=2, le=1000)
    seed: int = _key(0, "seed of everything random in training")


class ScoringSettings(_Section):
    """How flows are scored."""

    interval_s: float = _key(300.0, "pause between looks of `score --continuous`", unit="seconds", gt=0, le=86_400)
    in_run: bool = _key(True, "the daemon scores too, after each training")
    retention_days: int = _key(30, "days of score files kept", unit="days", ge=1, le=3650)
    top_reasons: int = _key(3, "reasons kept with each scored flow", ge=1, le=16)
    min_score: Percent = _key(0.0, "flows that score lower are left out of the score files")
    reputation_file: Path | None = _key(None, "Parquet of bad addresses for `hybrid`: ip_address, abuse_confidence_score")


class FingerprintSettings(_Section):
    """What is learned of hosts' TLS and TCP fingerprints."""

    enabled: bool = _key(True, "build and use fingerprint profiles where the flows have fingerprints")
    history_days: int = _key(7, "days that make a host's profile", unit="days", ge=1, le=3650)
    client_field: str = _key("ndpi_ja4", "column with the client's fingerprint")
    server_field: str = _key("ndpi_ja3s", "column with the server's fingerprint")
    min_observations: int = _key(10, "flows of a host before it is judged", unit="flows", ge=1)
    anomaly_threshold: float = _key(0.7, "novelty from which a change is reported", ge=0, le=1)
    max_fingerprints_per_host: int = _key(5, "more than so many fingerprints on one host are suspicious", ge=1)
    detect_suspicious: bool = _key(True, "report hosts with too many fingerprints")


class VerdictSettings(_Section):
    """What becomes a finding."""

    low: Percent = _key(95.0, "least score of severity low")
    medium: Percent = _key(99.0, "least score of severity medium")
    high: Percent = _key(99.9, "least score of severity high")
    critical: Percent = _key(99.99, "least score of severity critical")
    min_severity: Literal["info", "low", "medium", "high", "critical"] = _key("medium", "findings below this are not kept")
    noise_budget: int = _key(20, "most new findings a day a detector; the highest scores are kept, the rest counted", ge=1)
    warm_up_rows: int = _key(200, "records a detector has seen before its scores make findings", unit="records", ge=0)
    home_networks: list[str] = _key(
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"], "networks that are ours, besides those seen"
    )

    @model_validator(mode="after")
    def _ascending(self) -> "VerdictSettings":
        if not self.low <= self.medium <= self.high <= self.critical:
            raise ValueError(
                f"cut-offs must ascend: low {self.low} ≤ medium {self.medium} ≤ high {self.high} ≤ critical {self.critical}"
            )
        return self


class SinkSettings(_Section):
    """One place that findings are delivered to."""

    type: Literal["jsonl", "parquet", "webhook", "syslog", "notice"] = Field(description="kind of sink")
    path: Path | None = _key(None, "file (jsonl, notice) or folder (parquet)")
    url: str = _key("", "address of the webhook")
    host: str = _key("127.0.0.1", "syslog server")
    port: int = _key(514, "its port", ge=1, le=65535)
    protocol: Literal["udp", "tcp"] = _key("udp", "how syslog is sent")
    secret: SecretStr | None = _key(None, "key that signs the webhook (HMAC-SHA256)")
    secret_file: Path | None = _key(None, "file that holds that key")
    min_severity: Literal["info", "low", "medium", "high", "critical"] = _key("medium", "findings below this are not sent")


class LoggingSettings(_Section):
    """What is told, and where."""

    level: Literal["error", "warn", "info", "debug", "trace"] = _key("info", "least important message that is written")
    file: Path | None = _key(None, "log file; standard error (the journal, under systemd) when unset")
    format: Literal["auto", "console", "json"] = _key("auto", "auto: console on a terminal, JSON lines elsewhere")


class MetricsSettings(_Section):
    """Prometheus metrics of the daemon."""

    enabled: bool = _key(True, "serve metrics while the daemon runs")
    host: str = _key("127.0.0.1", "address to listen on; anything but loopback shows metrics to the network")
    port: int = _key(9464, "port to listen on", ge=0, le=65535)


class LimitSettings(_Section):
    """What the machine may give."""

    memory_mb: int = _key(1024, "memory of one query; more spills to disk", unit="MiB", ge=64)
    threads: int = _key(2, "threads of one query or kernel", ge=1, le=256)
    temp_dir: Path | None = _key(None, "where queries spill; the system's temporary folder when unset")
    claim_expiry_s: float = _key(120.0, "a claim not renewed for so long is free again", unit="seconds", ge=1, le=86_400)


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    store: str = _key("./tocsin-data", "folder, or s3://bucket/prefix, that keeps lake, models and state")
    domain: str = _key("default", "name of the group of sensors; the first folder below the store", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    ledger: SecretStr | None = _key(None, "database URL of findings and jobs; SQLite beside the store when unset")
    ledger_file: Path | None = _key(None, "file that holds the database URL")
    protocols: list[str] = _key([], "protocols with a model of their own; empty means each one seen with enough rows")
    parallel_protocols: bool = _key(False, "work on protocols side by side: faster, more memory")
    s3: S3Settings = S3Settings()
    ingest: IngestSettings = IngestSettings()
    sampling: SamplingSettings = SamplingSettings()
    features: FeatureSettings = FeatureSettings()
    ranking: RankingSettings = RankingSettings()
    training: TrainingSettings = TrainingSettings()
    scoring: ScoringSettings = ScoringSettings()
    fingerprint: FingerprintSettings = FingerprintSettings()
    verdict: VerdictSettings = VerdictSettings()
    sinks: list[SinkSettings] = _key([], "where findings are delivered")
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    limits: LimitSettings = LimitSettings()

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


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings from a file (or the first of the default files that exists) and the environment.

    Raises SettingsError naming file, key, value and what is allowed.
    """
    path = path or next((Path(name) for name in DEFAULT_FILES if Path(name).is_file()), None)
    where = str(path) if path else "settings"
    values = _read_yaml(path) if path else {}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(where, item) for item in error.errors())) from error


def read_secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    """Return a secret given in the settings or in a file beside them. Raises SettingsError when the file cannot be read."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{key}: cannot read {file}: {error.strerror}") from error


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield every key there is, dotted."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_keys(field.annotation, f"{prefix}{name}.")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{path}:{line} is no valid YAML: {getattr(error, 'problem', error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: must hold keys and values, such as `store: ./data`")
    return {str(key): value for key, value in values.items()}


def _explain(where: str, item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    env = ENV_PREFIX + "__".join(str(part) for part in item["loc"]).upper()
    origin = f"environment {env}" if env in os.environ else where
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else "; `tocsin config schema` lists the keys"
        return f"{origin}: unknown key {key!r}{hint}"
    if item["type"] == "value_error":
        return f"{origin}: {key}: {item['msg'].removeprefix('Value error, ')}"
    return f"{origin}: {key}: {item['msg']} (got {item['input']!r})"
