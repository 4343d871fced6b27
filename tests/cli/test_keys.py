"""`tocsin keys`."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from tocsin.app import App
from tocsin.cli.keys import keys
from tocsin.ledger.keys import hash_of
from tocsin.settings import Settings


@pytest.fixture
def app(tmp_path, clock):
    app = App(Settings(store=str(tmp_path)), clock=clock)
    yield app
    app.close()


def run(app: App, *arguments: str):
    return CliRunner().invoke(keys, arguments, obj=app)


def test_a_key_is_printed_once_alone_on_standard_output(app):
    done = run(app, "create", "sensor-7", "--scope", "read,score", "--expires", "90d")
    assert done.exit_code == 0, done.output
    token = done.stdout.strip()
    (key,) = app.ledger.keys.all()
    assert hash_of(token) == key.hash
    assert (key.name, key.scope, key.expires) == ("sensor-7", "score", app.clock.now() + timedelta(days=90))
    assert "not shown again" in done.stderr
    assert token not in run(app, "list").output + run(app, "list", "--json").output


def test_json_has_the_key_once(app):
    made = json.loads(run(app, "create", "a", "--json").stdout)
    assert (made["scope"], made["expires"]) == ("read", None)
    (listed,) = json.loads(run(app, "list", "--json").stdout)
    assert listed == {name: value for name, value in made.items() if name != "key"} | {"state": "active"}
    revoked = json.loads(run(app, "revoke", made["id"], "--json").stdout)
    assert revoked["revoked"]


def test_the_list_shows_what_still_counts(app):
    assert "tocsin keys create" in run(app, "list").output
    for name, expires in (("one", "1d"), ("two", "9d"), ("three", "9d")):
        run(app, "create", name, "--expires", expires)
        app.clock.advance(1)
    run(app, "revoke", "two")
    app.clock.advance(2 * 86_400)
    lines = [line for line in run(app, "list").output.splitlines() if "2025" in line]
    states = [state for line in lines for state in ("active", "revoked", "expired") if state in line]
    assert states == ["expired", "revoked", "active"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "a b"], "NAME: must be"),
        (["create", "a", "--scope", "root"], "--scope: 'root' is none of read, score, write, admin"),
        (["create", "a", "--scope", ""], "--scope: '' is none"),
        (["create", "a", "--expires", "2024-01-01"], "--expires: 2024-01-01 is past"),
        (["create", "a", "--expires", "soon"], "--expires"),
        (["revoke", "nobody"], "`tocsin keys list`"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_with_the_remedy(app, arguments, told):
    done = run(app, *arguments)
    assert told in str(done.exception)
