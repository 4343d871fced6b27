"""Each behaviour: a planted case that ranks first and becomes a finding, and an innocent twin that does not."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detector import dump_state, load_state
from tocsin.detectors.outlier.behaviours import BEHAVIOURS, NAMES
from tocsin.detectors.outlier.hosts import HOSTS, HostDetector, candidates, evidence, host_score, host_table
from tocsin.detectors.outlier.population import PRIOR_HOSTS, Population
from tocsin.detectors.outlier.profiles import PROFILE, profile_day
from tocsin.errors import ModelError
from tocsin.sources.zeek import ZeekSource
from tocsin.testing.office import flows, office

MEDIUM, HIGH = 99.0, 99.9
BAD = "10.0.0.17"
FAR = "203.0.113.66"
RNG = np.random.default_rng(7)


def _many(count: int, inside: bool = False) -> list[str]:
    if inside:
        return [f"10.0.{1 + i // 250}.{1 + i % 250}" for i in range(count)]
    return [f"{11 + i % 180}.{i // 180}.3.4" for i in range(count)]


def _beat(gap: float, jitter: float, count: int) -> np.ndarray:
    return np.cumsum(gap * (1 + RNG.uniform(-jitter, jitter, count)))


PLANTED = {
    "address-scan": lambda: flows(np.arange(300) * 2.0, BAD, _many(300, inside=True), 445, answered=False),
    "port-scan": lambda: flows(np.arange(500) * 0.5, BAD, "10.0.0.20", np.arange(1, 501), answered=False),
    "brute-force": lambda: flows(np.arange(600) * 3.0, BAD, "10.0.0.20", 22, out=1_900, back=2_400, seconds=2),
    "beacon": lambda: flows(_beat(300, 0.2, 280), BAD, FAR, 443, out=RNG.normal(450, 15, 280), back=700),
    "exfiltration": lambda: flows([3_600.0, 7_200.0], BAD, FAR, 443, out=3e9, back=1e6, seconds=900),
    "lateral-movement": lambda: flows(np.arange(60) * 60.0, BAD, _many(60, inside=True), 3389, out=9_000),
    "flood": lambda: flows(np.arange(9_000) * 0.01, BAD, FAR, 80, answered=False),
    "mail-fan-out": lambda: flows(np.arange(400) * 20.0, BAD, _many(400), 25, out=3_000, back=400),
    "dns-tunnel": lambda: flows(np.arange(60_000) * 0.7 + RNG.random(60_000), BAD, FAR, 53, proto="udp", out=200),
}

INNOCENT = {
    "browsing many sites": lambda: flows(
        RNG.random(2_000) * 30_000, BAD, _many(2_000), 443, answered=RNG.random(2_000) > 0.1
    ),
    "a dead server asked again and again": lambda: flows(
        np.sort(RNG.random(400)) * 40_000, BAD, FAR, 8000, answered=False
    ),
    "file sharing": lambda: flows(
        RNG.random(3_000) * 40_000,
        BAD,
        _many(3_000),
        RNG.integers(1_025, 60_000, 3_000),
        answered=RNG.random(3_000) > 0.6,
    ),
    "late answers of a resolver": lambda: flows(
        np.arange(900) * 1.0, "10.0.0.2", "10.0.0.20", np.arange(2_000, 2_900), proto="udp", answered=False, sport=53
    ),
    "a look at a login every minute": lambda: flows(np.arange(1_440) * 60.0, "10.0.0.3", "10.0.0.20", 22, out=1_500),
    "a busy database": lambda: flows(
        np.sort(RNG.random(9_000)) * 80_000, BAD, "10.0.0.20", 5432, out=RNG.lognormal(7, 1, 9_000), back=9_000
    ),
    "contacts at random": lambda: flows(
        np.cumsum(RNG.exponential(300, 250)), BAD, FAR, 443, out=RNG.lognormal(6, 1, 250)
    ),
    "a clock set from a server of its own": lambda: flows(
        np.arange(1_300) * 64.0, BAD, FAR, 123, proto="udp", out=48, back=48
    ),
    "a large download": lambda: flows([3_600.0], BAD, FAR, 443, out=2e7, back=8e9, seconds=900),
    "a backup inside": lambda: flows([3_600.0], BAD, "10.0.0.4", 443, out=8e9, back=1e6, seconds=900),
    "path tracing": lambda: flows(np.arange(90) * 1.0, BAD, FAR, 33_434 + np.arange(90), proto="udp", answered=False),
    "a telephone call of which one side is seen": lambda: flows(
        [3_600.0], BAD, FAR, 16_384, proto="udp", answered=False, out=36e6, seconds=3_600
    ),
    "monitoring that looks whether logins answer": lambda: flows(
        np.arange(3_000) * 20.0, "10.0.0.3", (_many(60, inside=True) * 50), 22, out=400, back=500
    ),
    "multicast": lambda: flows(np.arange(1_000) * 60.0, BAD, "239.255.255.250", 1900, proto="udp", answered=False),
}


@pytest.fixture(scope="module")
def peace() -> list[pa.Table]:
    return office()


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_planted_ranks_first_and_is_found(kind: str, peace: list[pa.Table]) -> None:
    profile = profile_day([*peace, PLANTED[kind]()])
    detector = HostDetector().fit([])
    scored = detector.score(profile)
    assert profile.column("host")[int(np.argmax(scored.raw))].as_py() == BAD
    assert scored.fields[scored.reason_field[int(np.argmax(scored.raw)), 0]] == kind
    found = [item for item in candidates(detector, profile, scored) if item.score >= MEDIUM]
    assert kind in {item.kind for item in found}
    assert {item.entity for item in found} == {BAD}


@pytest.mark.parametrize("name", INNOCENT)
def test_an_innocent_twin_is_not_found(name: str, peace: list[pa.Table]) -> None:
    profile = profile_day([*peace, INNOCENT[name]()])
    detector = HostDetector().fit([])
    found = candidates(detector, profile, detector.score(profile))
    assert [item.title for item in found if item.score >= MEDIUM] == []


def test_peace_is_quiet(peace: list[pa.Table]) -> None:
    profile = profile_day(peace)
    assert host_table(HostDetector(), profile, HostDetector().score(profile)).column("score").to_numpy().max() < MEDIUM


def test_a_finding_says_why_and_names_its_flows(peace: list[pa.Table]) -> None:
    tables = [*peace, PLANTED["address-scan"]()]
    profile = profile_day(tables)
    detector = HostDetector()
    first = evidence(tables, candidates(detector, profile, detector.score(profile)))[0]
    assert first.title == f"{BAD} contacted 300 addresses on tcp/445, 100 % without an answer"
    assert (first.kind, first.entity, first.record_count, len(first.records)) == ("address-scan", BAD, 300, 20)
    assert first.scope == {"saddr": BAD, "dport": 445, "proto": "tcp"}
    assert first.end - first.start == timedelta(seconds=598)
    assert all(record["saddr"] == BAD and record["dport"] == 445 for record in first.records)
    assert first.reasons[0].field == "address-scan"
    assert sum(reason.share for reason in first.reasons) == pytest.approx(1, abs=0.01)
    assert first.score > HIGH


def test_ports_of_one_scan_are_one_finding(peace: list[pa.Table]) -> None:
    scans = [flows(np.arange(200) * 2.0, BAD, _many(200, inside=True), port, answered=False) for port in (22, 23, 445)]
    profile = profile_day([*peace, *scans])
    found = candidates(HostDetector(), profile, HostDetector().score(profile))
    scan = [item for item in found if item.kind == "address-scan"]
    assert len(scan) == 1
    assert scan[0].scope["dport"] == [22, 23, 445] or sorted(scan[0].scope["dport"]) == [22, 23, 445]
    assert scan[0].title.endswith("and likewise 2 other ports")


def test_an_outbreak_does_not_excuse_itself(peace: list[pa.Table]) -> None:
    scans = [
        flows(np.arange(300) * 2.0, f"10.0.0.{i}", _many(300, inside=True), 445, answered=False) for i in (11, 12, 13)
    ]
    profile = profile_day([*peace, *scans])
    found = candidates(HostDetector(), profile, HostDetector().score(profile))
    assert {item.entity for item in found if item.score >= MEDIUM} == {"10.0.0.11", "10.0.0.12", "10.0.0.13"}


def test_a_scanner_from_outside_counts_less_than_one_inside(peace: list[pa.Table]) -> None:
    outside = flows(np.arange(300) * 2.0, FAR, _many(300, inside=True), 445, answered=False)
    profile = profile_day([*peace, outside, PLANTED["address-scan"]()])
    table = host_table(HostDetector(), profile, HostDetector().score(profile)).to_pylist()
    assert table[0]["host"] == BAD
    rank = {row["host"]: row for row in table}
    assert not rank[FAR]["ours"]
    assert rank[FAR]["raw"] < rank[BAD]["raw"] / 2


def test_a_mail_server_is_its_own_excuse_but_a_scanner_is_not() -> None:
    days = []
    for day in range(4):
        mail = flows(np.arange(400) * 20.0, "10.0.0.18", _many(400), 25, out=3_000, back=400, day=day)
        scan = flows(np.arange(300) * 2.0, BAD, _many(300, inside=True), 445, answered=False, day=day)
        days.append(profile_day([*office(day, day=day), mail, scan]))
    detector = HostDetector().fit(days[:3])
    found = candidates(detector, days[3], detector.score(days[3]))
    assert {item.entity for item in found if item.score >= MEDIUM} == {BAD}


def test_yesterdays_attack_does_not_excuse_todays() -> None:
    first = profile_day([*office(0), flows([3_600.0], BAD, FAR, 443, out=5e9, back=1e6)])
    second = profile_day(
        [*office(1, day=1), flows([3_600.0], "10.0.0.21", "203.0.113.9", 443, out=5e9, back=1e6, day=1)]
    )
    detector = HostDetector().fit([first])
    found = candidates(detector, second, detector.score(second))
    assert [(item.kind, item.entity) for item in found if item.score >= MEDIUM] == [("exfiltration", "10.0.0.21")]


def test_a_capture_of_one_host_rests_on_the_prior() -> None:
    profile = profile_day([PLANTED["address-scan"]()])
    detector = HostDetector().fit([])
    assert detector.score(profile).raw[profile.column("host").to_pylist().index(BAD)] > 10


def test_an_attacker_that_is_most_of_the_traffic_is_still_found(peace: list[pa.Table]) -> None:
    loud = flows(
        np.arange(60_000) * 1.0,
        BAD,
        [f"{30 + i % 100}.{i // 100 % 250}.1.1" for i in range(60_000)],
        23,
        answered=False,
    )
    profile = profile_day([*peace, loud])
    assert profile.column("host")[int(np.argmax(HostDetector().score(profile).raw))].as_py() == BAD


@given(seed=st.integers(0, 10_000))
def test_evidence_equals_the_plain_equation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, column = 12, NAMES.index("mail-fan-out")
    bits = np.zeros((n, len(BEHAVIOURS)))
    bits[:, column] = np.maximum(0, rng.normal(2, 6, n))
    names = [f"h{i}" for i in range(n)]
    got = Population(names, ["d"] * n, bits, bits, n).evidence(names, ["d"] * n, bits)[:, column]
    for i, value in enumerate(bits[:, column]):
        rest = np.delete(bits[:, column], i)
        near = np.minimum(1.0, 2.0 ** (1.5 * (rest[rest > 0] - value))).sum()
        tail = (PRIOR_HOSTS * 2.0**-value + near) / (PRIOR_HOSTS + n - 1)
        want = min(2 * value, max(0.0, -np.log2(min(1.0, tail)))) if value > 0 else 0.0
        assert got[i] == pytest.approx(want, abs=1e-6)


def test_the_score_is_the_chance_among_all_that_was_looked_at() -> None:
    np.testing.assert_allclose(host_score(np.array([0.0, 10.0, 20.0]), 1024.0), [0, 0, 100 * (1 - 2.0**-10)])


def test_state_goes_through_a_file(peace: list[pa.Table]) -> None:
    baseline = profile_day([*peace, PLANTED["beacon"]()])
    today = profile_day([*office(3, day=1), flows(_beat(60, 0.1, 900), BAD, FAR, 443, out=300, day=1)])
    detector = HostDetector().fit([baseline])
    again = HostDetector().restore(load_state(dump_state(detector.state())))
    np.testing.assert_array_equal(again.score(today).raw, detector.score(today).raw)


@pytest.mark.parametrize("fault", ["format", "hosts", "bits"])
def test_a_damaged_state_is_refused(fault: str, peace: list[pa.Table]) -> None:
    state = HostDetector().fit([profile_day(peace)]).state()
    state[fault] = {"format": 99, "hosts": ["one"], "bits": np.zeros((1, 1), np.float32)}[fault]
    with pytest.raises(ModelError, match="host model"):
        HostDetector().restore(state)


def test_scoring_changes_nothing(peace: list[pa.Table]) -> None:
    profile = profile_day(peace)
    detector = HostDetector().fit([profile])
    before = dump_state(detector.state())
    detector.score(profile)
    assert dump_state(detector.state()) == before


def test_tables_have_their_schemas(peace: list[pa.Table]) -> None:
    profile = profile_day(peace)
    assert profile.schema == PROFILE
    assert host_table(HostDetector(), profile, HostDetector().score(profile)).schema == HOSTS


def test_the_infected_host_of_a_real_capture_ranks_first(data: Path) -> None:
    capture = data / "flows" / "iot23-34-1.conn.log.labeled.gz"
    tables = [batch.table for batch in ZeekSource().read(capture)]
    profile = profile_day(tables)
    detector = HostDetector()
    scored = detector.score(profile)
    assert host_table(detector, profile, scored).column("host")[0].as_py() == "192.168.1.195"
    found = {item.kind: item for item in candidates(detector, profile, scored)}
    assert found["flood"].about == "123.59.209.185 tcp"
    assert found["beacon"].about == "185.244.25.235 tcp/6667"


def test_a_flood_of_few_long_flows_is_found_by_its_volume(peace: list[pa.Table]) -> None:
    flood = flows([3_600.0, 3_660.0], BAD, FAR, 80, proto="udp", answered=False, out=4e9, seconds=60)
    profile = profile_day([*peace, flood])
    found = candidates(HostDetector(), profile, HostDetector().score(profile))
    first = max(found, key=lambda item: item.score)
    assert (first.kind, first.entity) == ("flood", BAD)
    assert first.score >= MEDIUM
    assert first.title == f"{BAD} sent 2 udp flows (8 GB) to {FAR}, 100 % unanswered"
