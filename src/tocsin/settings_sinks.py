"""Settings of one place that findings, or results, are delivered to."""

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from tocsin.settings_section import LocalPath, Section, one_of, setting


class SinkSettings(Section):
    """One place that findings are delivered to."""

    type: Literal["jsonl", "parquet", "webhook", "syslog", "notice"] = Field(description="kind of sink")
    path: LocalPath | None = setting(None, "file (jsonl, notice) or folder (parquet)")
    url: str = setting("", "address of the webhook")
    host: str = setting("127.0.0.1", "syslog server")
    port: int = setting(514, "its port", ge=1, le=65535)
    protocol: Literal["udp", "tcp"] = setting("udp", "how syslog is sent")
    secret: SecretStr | None = setting(None, "key that signs the webhook (HMAC-SHA256)")
    secret_file: LocalPath | None = setting(None, "file that holds that key")
    min_severity: Literal["info", "low", "medium", "high", "critical"] = setting(
        "medium", "findings below this are not sent"
    )

    @model_validator(mode="after")
    def _complete(self) -> "SinkSettings":
        if self.type in ("jsonl", "parquet", "notice") and self.path is None:
            raise ValueError(f"a sink of type {self.type} needs path")
        if self.type == "webhook" and not self.url.startswith(("http://", "https://")):
            raise ValueError("a sink of type webhook needs url, beginning with http:// or https://")
        one_of(self.secret, self.secret_file, "secret")
        return self
