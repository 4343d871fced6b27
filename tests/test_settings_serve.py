"""Settings of the service."""

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from tocsin.cli import cli
from tocsin.errors import SettingsError
from tocsin.settings import load_settings
from tocsin.settings_serve import OidcSettings, ServeSettings, check_safe

ISSUER = {"issuer": "https://login.example.org", "audience": "tocsin"}


def test_by_default_it_is_for_this_machine_alone():
    settings = ServeSettings()
    assert (settings.host, settings.port, settings.auth, settings.durability) == ("127.0.0.1", 8080, "none", "full")
    assert not settings.enabled
    check_safe(settings)


@pytest.mark.parametrize("auth", ["keys", "oidc", "keys+oidc"])
def test_with_authentication_any_address_will_do(auth):
    check_safe(ServeSettings(host="0.0.0.0", auth=auth, oidc=ISSUER))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "2001:db8::1", "myhost", ""])
def test_without_it_only_loopback_will(host):
    with pytest.raises(SettingsError, match=r"serve\.host: .*tocsin keys create"):
        check_safe(ServeSettings(host=host))


@pytest.mark.parametrize("oidc", [{}, {"issuer": "https://x"}, {"audience": "x"}], ids=str)
def test_oidc_needs_issuer_and_audience(oidc):
    with pytest.raises(ValidationError, match=r"needs oidc\.issuer and oidc\.audience"):
        ServeSettings(auth="oidc", oidc=oidc)


@pytest.mark.parametrize("issuer", ["http://login.example.org", "ftp://x", "login.example.org", "http://localhost.x"])
def test_an_issuer_is_reached_by_tls(issuer):
    with pytest.raises(ValidationError, match="must begin with https://"):
        OidcSettings(issuer=issuer)


@pytest.mark.parametrize("issuer", ["https://x", "http://127.0.0.1:9000/realm", "http://localhost", "http://[::1]:80"])
def test_or_on_this_machine(issuer):
    assert OidcSettings(issuer=issuer).issuer == issuer


def test_a_wrong_key_is_told_with_its_place(tmp_path):
    file = tmp_path / "tocsin.yaml"
    for text, told in (
        ("serve:\n  prot: 1\n", "serve.prot"),
        ("serve:\n  trusted_proxies: [proxy]\n", "serve.trusted_proxies"),
        ("serve:\n  auth: basic\n", "serve.auth"),
        ("serve:\n  oidc:\n    scopes: {x: root}\n", "serve.oidc.scopes.x"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=told.replace(".", r"\.")):
            load_settings(file)


def test_validate_says_so_before_a_start_does(tmp_path):
    file = tmp_path / "tocsin.yaml"
    file.write_text(f"store: {tmp_path}\nserve:\n  host: 0.0.0.0\n")
    done = CliRunner().invoke(cli, ["-c", str(file), "validate"])
    assert done.exit_code == 2
    assert f"{file}:3: serve.host: others can reach 0.0.0.0" in done.output
