"""`tocsin serve` as a process: what it prints, how it refuses, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


def serve(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return start("serve", folder, *arguments)


def start(verb: str, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tocsin", verb, *arguments]
    variables = {**os.environ, "TOCSIN_STORE": str(folder / "store"), **environment}
    return subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True)


def address(process: subprocess.Popen[str], words: str = "tocsin: serving at") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rf"{words} (http://[^ ,]+)", line):
            return found[1]
    raise AssertionError("it ended without serving")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(tmp_path, number):
    with serve(tmp_path, "--port", "0") as process:
        url = address(process)
        with urllib.request.urlopen(f"{url}/api/v1/admin/liveness") as answer:
            assert json.load(answer)["status"] == "alive"
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "Traceback" not in told


def test_a_stop_over_the_api_ends_it(tmp_path):
    with serve(tmp_path, "--port", "0", "--durability", "fast") as process:
        request = urllib.request.Request(f"{address(process)}/api/v1/admin/shutdown", method="POST")
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"status": "stopping"}
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told


def test_the_daemon_serves_too_where_it_is_told_to(tmp_path):
    variables = {"TOCSIN_SERVE__ENABLED": "true", "TOCSIN_SERVE__PORT": "0", "TOCSIN_METRICS__ENABLED": "false"}
    with start("run", tmp_path, **variables) as process:
        url = address(process, "the service is at")
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            assert "tocsin_job_duration_seconds" in answer.read().decode(), "the daemon's own metrics"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "Traceback" not in told


def test_a_second_one_on_the_same_folder_says_who_has_it(tmp_path):
    with serve(tmp_path, "--port", "0") as first:
        address(first)
        with serve(tmp_path, "--port", "0") as second:
            _, told = second.communicate(timeout=30)
        assert second.returncode == 4, told
        assert str(first.pid) in told
        assert "Traceback" not in told
        first.terminate()
        first.communicate(timeout=30)


def test_a_taken_port_and_an_open_address_are_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, expected in ((("--port", port), f"127.0.0.1:{port}"), (("--host", "0.0.0.0"), "serve.auth")):
            with serve(tmp_path, *arguments) as process:
                _, told = process.communicate(timeout=30)
            assert process.returncode == 2, told
            assert expected in told
            assert told.count("tocsin: serve.") == 1
            assert "Traceback" not in told
