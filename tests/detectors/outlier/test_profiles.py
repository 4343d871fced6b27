"""What is measured of a host in a day."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from tocsin.detectors.outlier.profiles import profile_day
from tocsin.errors import ModelError, SettingsError
from tocsin.testing.office import flows, office


def _row(profile: pa.Table, host: str) -> dict:
    return next(row for row in profile.to_pylist() if row["host"] == host)


def test_counts_what_a_host_did() -> None:
    table = flows(
        [10.0, 20.0, 30.0], "10.0.0.9", ["203.0.113.1", "203.0.113.2", "203.0.113.2"], 443, answered=np.array([1, 1, 0])
    )
    row = _row(profile_day([table]), "10.0.0.9")
    assert (row["flows"], row["peers"], row["unanswered"], row["population"]) == (3, 2, 1, 0)
    assert (row["bytes_out"], row["bytes_in"], row["ours"], row["day"]) == (2400, 10_000, True, date(2023, 11, 15))


def test_cutting_the_flows_elsewhere_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.concat_tables(
        [*office(hosts=8), flows(np.arange(300) * 2.0, "10.0.0.11", "10.0.0.12", np.arange(300), answered=False)]
    )
    once = profile_day([whole])
    monkeypatch.setattr("tocsin.detectors.outlier.profiles.FOLD_ROWS", 3_000)
    monkeypatch.setattr("tocsin.detectors.outlier.profiles.ARRIVALS_AT_ONCE", 2_000)
    order = pa.array(np.random.default_rng(0).permutation(whole.num_rows))
    assert profile_day([whole.take(order).slice(i, 700) for i in range(0, whole.num_rows, 700)]).equals(once)


@pytest.mark.parametrize(
    ("state", "answers", "unanswered"),
    [
        ("S0", 0, True), ("REJ", 1, True), ("SF", 5, False), ("RSTO", 3, False), ("OTH", 0, True), ("OTH", 2, False),
        ("S_", None, True), ("S_RA", None, True), ("FSPA_FSPA", None, False), ("SPA_RA", None, False),
        ("PA_", None, False), ("INT", None, True), ("URP", None, True), ("CON", None, False), ("", 0, True),
        ("", 4, False), (None, 4, False), ("ECO", 0, True), ("ECO", None, False), ("ECO", 2, False),
    ],
)  # fmt: skip
def test_reads_from_a_state_whether_there_was_an_answer(
    state: str | None, answers: int | None, unanswered: bool
) -> None:
    table = flows([1.0], "10.0.0.9", "203.0.113.1", 443, back=0 if state in ("INT",) else 60)
    for name, value, kind in (("dpkts", answers, pa.uint64()), ("conn_state", state, pa.string())):
        table = table.drop_columns([name]) if name in table.column_names else table
        table = table.append_column(name, pa.array([value], kind))
    assert _row(profile_day([table]), "10.0.0.9")["unanswered"] == int(unanswered)


def test_absent_columns_are_fine() -> None:
    table = flows(np.arange(5.0), "10.0.0.9", "203.0.113.1", 443).select(["stime", "proto", "saddr", "daddr"])
    assert _row(profile_day([table]), "10.0.0.9")["flows"] == 5


def test_learns_that_a_public_network_is_ours() -> None:
    inside = [f"147.32.{i % 5}.{i}" for i in range(1, 60)]
    tables = [
        flows(np.arange(40.0), host, [f"{20 + i}.{k}.1.1" for i in range(40)], 443) for k, host in enumerate(inside)
    ]
    profile = profile_day(tables)
    assert profile.column("host").to_pylist() == sorted(inside)
    assert profile.column("ours").to_pylist() == [True] * len(inside)


def test_does_not_take_the_internet_for_ours() -> None:
    table = flows(np.arange(500.0), "10.0.0.9", "203.0.113.1", 443)
    back = flows(np.arange(300.0), "203.0.113.1", [f"10.0.0.{i % 250}" for i in range(300)], 22, answered=False)
    assert not _row(profile_day([table, back]), "203.0.113.1")["ours"]


def test_home_networks_can_be_set() -> None:
    table = flows(np.arange(50.0), "203.0.113.9", "10.0.0.5", np.arange(50), answered=False)
    assert _row(profile_day([table], home=["203.0.113.0/24"]), "203.0.113.9")["ours"]
    with pytest.raises(SettingsError, match="nonsense"):
        profile_day([table], home=["nonsense"])


def test_sixth_version_addresses_are_told_apart() -> None:
    table = flows(np.arange(30.0), "fd00::9", [f"2001:db8::{i}" for i in range(30)], 22, answered=False)
    other = flows(np.arange(30.0), "fd00::9", "ff02::fb", 5353, proto="udp", answered=False)
    row = _row(profile_day([table, other]), "fd00::9")
    assert (row["ours"], row["peers"], row["flows"]) == (True, 30, 30)


def test_no_flows_is_said_so() -> None:
    with pytest.raises(ModelError, match="no flows"):
        profile_day([])


@pytest.mark.parametrize(("gap", "beats"), [(0.001, False), (7.2, True)])
def test_a_burst_is_no_rhythm(gap: float, beats: bool) -> None:
    rows = profile_day([flows(np.arange(60) * gap, "10.0.0.9", "203.0.113.1", 443, out=100)])
    assert (_row(rows, "10.0.0.9")["beacon"] > 0) == beats
