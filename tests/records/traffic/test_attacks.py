from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tocsin.records.traffic.attacks import KINDS
from tocsin.records.traffic.days import generate_days, planted

FRIDAY = date(2024, 3, 8)
OPTIONS = {"flows_per_day": 800, "hosts": 60, "quiet_days": 0, "attacks": KINDS, "seed": 11}


@pytest.fixture(scope="module")
def days():
    return pa.concat_tables([table for _, table in generate_days(FRIDAY, 3, **OPTIONS)])


def rows(days, kind):
    return days.filter(
        pc.equal(days["label_detail"], next(a.id for a in planted(FRIDAY, 3, **OPTIONS) if a.kind == kind))
    )


def distinct(table, name):
    return pc.count_distinct(table[name]).as_py()


def failed(table):
    return pc.mean(pc.is_in(table["conn_state"], pa.array(["S0", "REJ"]))).as_py()


def test_a_scan_asks_one_port_of_many_addresses(days):
    scan = rows(days, "scan")
    assert distinct(scan, "dport") == 1
    assert distinct(scan, "daddr") == scan.num_rows > 30
    assert failed(scan) > 0.85


def test_a_port_scan_asks_many_ports_of_one_server(days):
    scan = rows(days, "portscan")
    assert distinct(scan, "daddr") == 1
    assert distinct(scan, "dport") == scan.num_rows
    assert failed(scan) > 0.8


def test_guesses_are_many_and_alike(days):
    guesses = rows(days, "bruteforce")
    assert distinct(guesses, "daddr") == distinct(guesses, "dport") == 1
    answered = guesses.filter(pc.greater(guesses["orig_bytes"], 0))["orig_bytes"].to_numpy()
    assert answered.std() / answered.mean() < 0.1


def test_a_beacon_keeps_its_period_and_size(days):
    beacon = rows(days, "beacon")
    gaps = np.diff(beacon["stime"].cast(pa.int64()).to_numpy())
    assert gaps.std() / gaps.mean() < 0.2
    assert distinct(beacon, "daddr") == 1
    assert np.ptp(beacon["stime"].cast(pa.int64()).to_numpy()) > 4 * 3.6e9
    assert distinct(beacon.filter(pc.is_valid(beacon["ndpi_ja4"])), "ndpi_ja4") == 1


def test_an_exfiltration_sends_much_to_somebody_new(days):
    upload = rows(days, "exfiltration")
    assert pc.sum(upload["orig_bytes"]).as_py() > 500_000_000
    address = upload["daddr"][0].as_py()
    assert pc.sum(pc.equal(days["daddr"], address)).as_py() == upload.num_rows
    assert pc.max(pc.hour(upload["stime"])).as_py() < 6


def test_lateral_movement_reaches_many_peers_slowly(days):
    moves = rows(days, "lateral")
    assert distinct(moves, "daddr") >= 20
    assert set(moves["dport"].unique().to_pylist()) <= {445, 3389, 5985}
    assert pc.all(pc.starts_with(moves["daddr"], "10.20.")).as_py()


def test_a_flood_comes_from_many(days):
    flood = rows(days, "ddos")
    assert distinct(flood, "saddr") > 0.9 * flood.num_rows
    assert distinct(flood, "daddr") == 1


def test_instances_do_not_outlive_the_days_and_have_names_of_their_own():
    plan = planted(FRIDAY, 20, attacks=KINDS, quiet_days=3)
    assert len({attack.id for attack in plan}) == len(plan) == 7 * len(KINDS)
    for attack in plan:
        assert FRIDAY + timedelta(days=3) <= attack.start.date()
        assert attack.start < attack.end
        assert (attack.end - timedelta(microseconds=1)).date() < FRIDAY + timedelta(days=20)
    strangers = [attack.victims[0] for attack in plan if attack.kind == "exfiltration"]
    assert len(set(strangers)) == len(strangers)
