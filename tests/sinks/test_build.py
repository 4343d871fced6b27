from pathlib import Path

import pytest

from tocsin.errors import SettingsError
from tocsin.settings_sinks import SinkSettings
from tocsin.sinks.build import build_sink


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"type": "jsonl"}, r"^sinks\.1\.path: a jsonl sink needs a file$"),
        ({"type": "notice"}, r"^sinks\.1\.path: a notice sink needs a file$"),
        ({"type": "parquet"}, r"^sinks\.1\.path: a parquet sink needs a folder$"),
        ({"type": "webhook"}, r"^sinks\.1\.url: "),
        ({"type": "webhook", "url": "ftp://host/x"}, r"got 'ftp://host/x'"),
        (
            {"type": "webhook", "url": "http://h/x", "secret_file": Path("/no/such")},
            r"^sinks\.1\.secret_file: cannot read",
        ),
        ({"type": "syslog", "host": ""}, r"^sinks\.1\.host: "),
    ],
)
def test_what_is_missing_is_named(values, says):
    with pytest.raises(SettingsError, match=says):
        build_sink(SinkSettings.model_construct(**values), "sinks.1")


def test_a_secret_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("whsec_a2V5\n")
    sink = build_sink(SinkSettings(type="webhook", url="https://host/in", secret_file=file))
    assert sink.place == "webhook https://host/in"
    sink.close()
