"""Where S3 credentials come from: files named in the settings, a profile, the environment, the machine's role."""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.errors import SettingsError

_SECTIONS = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}


@dataclass(frozen=True)
class Credentials:
    """An access key; its secret parts are left out of every text."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def find_credentials(
    profile: str,
    access_key_id: str | None,
    secret_access_key: str | None,
    environment: Mapping[str, str] | None = None,
) -> Credentials | None:
    """Return the credentials to use, or None to leave it to the environment's keys or the machine's role.

    In this order: both keys given; the profile given; keys in the environment (None); the profile in AWS_PROFILE or
    the default one; a web identity or the machine's role (None). Raises SettingsError for half of a pair or an
    unusable profile.
    """
    environment = os.environ if environment is None else environment
    if access_key_id and secret_access_key:
        return Credentials(access_key_id, secret_access_key)
    if access_key_id or secret_access_key:
        missing = "s3.secret_access_key_file" if access_key_id else "s3.access_key_id_file"
        raise SettingsError(f"{missing} is missing or its file is empty; the two keys are only useful together")
    if profile:
        return _from_profile(profile, environment)
    if "AWS_ACCESS_KEY_ID" in environment:
        return None
    if environment.get("AWS_PROFILE"):
        return _from_profile(environment["AWS_PROFILE"], environment)
    keys = _profile_keys("default", environment)
    return _credentials(keys) if "aws_access_key_id" in keys else None


def _from_profile(profile: str, environment: Mapping[str, str]) -> Credentials:
    keys = _profile_keys(profile, environment)
    files = " or ".join(str(path) for path in _files(environment))
    if not keys:
        raise SettingsError(f"s3.profile: there is no profile {profile!r} in {files}")
    if not (keys.get("aws_access_key_id") and keys.get("aws_secret_access_key")):
        raise SettingsError(
            f"s3.profile: {profile!r} in {files} has no aws_access_key_id and aws_secret_access_key; "
            "profiles that log in elsewhere are not supported, put their keys into the environment"
        )
    return _credentials(keys)


def _credentials(keys: Mapping[str, str]) -> Credentials:
    return Credentials(
        keys["aws_access_key_id"], keys.get("aws_secret_access_key", ""), keys.get("aws_session_token") or None
    )


def _files(environment: Mapping[str, str]) -> list[Path]:
    return [Path(environment.get(name) or default).expanduser() for name, default in _SECTIONS.items()]


def _profile_keys(profile: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return a profile's keys; the credentials file goes before the configuration file."""
    keys: dict[str, str] = {}
    for path in _files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text())
        except OSError:
            continue
        except (configparser.Error, UnicodeDecodeError):
            # The parser's own message quotes lines of the file, and with them secrets.
            raise SettingsError(
                f"s3.profile: {path} is not written as [profile] sections of key = value lines"
            ) from None
        for section in (profile, f"profile {profile}"):
            if parser.has_section(section):
                keys = {**dict(parser.items(section)), **keys}
    return keys
