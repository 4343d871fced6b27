"""Every example of docs/api.md, run as it stands, answers what it says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
CSV = "proto,port\ntcp,443\ntcp,80\nudp,53\n"


def examples(text: str) -> list[tuple[str, str]]:
    """Return each call with what is written below it."""
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    found: list[tuple[str, str]] = []
    for line in lines:
        if re.match(r"curl|printf", line):
            found.append((line, ""))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def called(call: str, url: str, folder: Path) -> tuple[int, str]:
    call = call.replace("localhost:8080", url).replace("curl ", "curl -sS -w '\\n%{http_code}' ")
    done = subprocess.run(["bash", "-c", call], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def values(text: str) -> list[Any]:
    """Return the JSON values that stand one behind the other."""
    found, decoder, text = [], json.JSONDecoder(), text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def holds(shown: Any, actual: Any) -> bool:
    """Tell whether what is shown is what there is, or a part of it."""
    if isinstance(shown, dict):
        return isinstance(actual, dict) and all(name in actual and holds(shown[name], actual[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(actual, list) and len(actual) >= len(shown) and all(map(holds, shown, actual))
    if isinstance(shown, str):
        return isinstance(actual, str) and actual.startswith(shown)
    return shown == actual


def test_every_example(service, tmp_path):
    (tmp_path / "conn.csv").write_text(CSV)
    calls = examples(PAGE.read_text())
    assert len(calls) > 20
    for call, shown in calls:
        if "/uploads" in call:
            wait_for_upload(service)
        status, body = called(call, service.url, tmp_path)
        expected = int(call.rpartition("# ")[2]) if "  # " in call else 0
        assert status == expected if expected else 200 <= status < 300, (call, body)
        if shown:
            assert holds(values(shown), values(body)), (call, shown, body)


def wait_for_upload(service) -> None:
    while service.client.get("/api/v1/uploads").json()["uploads"][0]["state"] == "running":
        service.app.clock.sleep(0.05)


def test_a_part_that_differs_is_seen():
    assert holds({"a": [1, {"b": "the first"}]}, {"a": [1, {"b": "the first and more", "c": 2}, 3], "d": 4})
    assert not holds({"a": 1}, {"a": 2})
    assert not holds({"a": [1, 2]}, {"a": [1]})
    assert not holds({"a": {"b": 1}}, {"a": {}})
