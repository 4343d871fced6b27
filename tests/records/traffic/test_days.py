from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tocsin.errors import SettingsError
from tocsin.kernels.compiler import COMPILED
from tocsin.records.community_id import community_ids
from tocsin.records.flow import FLOW
from tocsin.records.traffic.attacks import ATTACKS, KINDS
from tocsin.records.traffic.days import generate_days, planted
from tocsin.records.traffic.network import Network
from tocsin.records.traffic.table import SCHEMA

MONDAY = date(2024, 3, 4)
FLOWS = 20_000 if COMPILED else 2000


def whole(days=1, **options):
    options = {"flows_per_day": FLOWS, "hosts": 60, **options}
    return pa.concat_tables([table for _, table in generate_days(MONDAY, days, **options)]).combine_chunks()


@pytest.fixture(scope="module")
def week():
    return {"table": whole(4, seed=3), "plan": planted(MONDAY, 4, flows_per_day=FLOWS, hosts=60, seed=3)}


def test_the_schema_is_the_canonical_one(week):
    assert week["table"].schema == SCHEMA
    assert all(field.type == FLOW[field.name].type for field in SCHEMA)
    week["table"].validate(full=True)


@pytest.mark.parametrize(("block_rows", "workers"), [(137, 1), (1000, 3), (10**9, 2)])
def test_flows_do_not_depend_on_block_size_and_threads(block_rows, workers):
    options = {"flows_per_day": 1500, "quiet_days": 0}
    assert whole(block_rows=block_rows, workers=workers, **options).equals(whole(**options))
    sizes = [
        t.num_rows for _, t in generate_days(MONDAY, 1, hosts=60, block_rows=block_rows, workers=workers, **options)
    ]
    assert all(size == block_rows for size in sizes[:-1])
    assert sizes[-1] <= block_rows


def test_another_seed_gives_other_flows():
    first, second = whole(flows_per_day=500), whole(flows_per_day=500, seed=1)
    assert not set(first["flowid"].to_pylist()) & set(second["flowid"].to_pylist())
    assert not first["daddr"].equals(second["daddr"])


def test_a_day_is_the_same_alone_and_among_others():
    options = {"flows_per_day": 1000, "hosts": 60, "attacks": ()}
    among = [table for day, table in generate_days(MONDAY - timedelta(days=1), 2, **options) if day == MONDAY]
    assert pa.concat_tables(among).combine_chunks().equals(whole(**options))


def test_attacks_change_nothing_that_is_benign():
    options = {"flows_per_day": 1500, "quiet_days": 0}
    calm, busy = whole(attacks=(), **options), whole(attacks=KINDS, **options)
    assert set(pc.unique(calm["label"]).to_pylist()) == {"benign"}
    assert busy.filter(pc.equal(busy["label"], "benign")).equals(calm)


def test_flow_ids_are_unique(week):
    assert pc.count_distinct(week["table"]["flowid"]).as_py() == week["table"].num_rows


def test_flows_are_by_time_and_within_their_day():
    for day, table in generate_days(MONDAY, 2, flows_per_day=1500, hosts=60, quiet_days=0, block_rows=400):
        times = table["stime"].cast(pa.int64()).to_numpy()
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
        assert (np.diff(times) >= 0).all()
        assert midnight <= times[0] <= times[-1] < midnight + 86_400_000_000


def test_every_planted_attack_is_there_and_labels_add_up(week):
    table, plan = week["table"], week["plan"]
    assert {attack.kind for attack in plan} == set(ATTACKS)
    for attack in plan:
        rows = table.filter(pc.equal(table["label_detail"], attack.id))
        assert rows.num_rows == attack.flows > 0
        assert set(pc.unique(rows["label"]).to_pylist()) == {attack.kind}
        assert set(pc.unique(rows["saddr"]).to_pylist()) == {attack.attacker}
        assert set(attack.victims) <= set(pc.unique(rows["daddr"]).to_pylist())
        assert attack.start <= pc.min(rows["stime"]).as_py()
        assert pc.max(rows["stime"]).as_py() <= attack.end
    hostile = pc.not_equal(table["label"], "benign")
    assert pc.sum(hostile).as_py() == sum(attack.flows for attack in plan)
    assert pc.mean(hostile).as_py() < 0.1
    assert hostile.equals(pc.is_valid(table["label_detail"]))


def test_the_first_days_are_quiet_unless_told_otherwise(week):
    assert min(attack.start for attack in week["plan"]).date() >= MONDAY + timedelta(days=2)
    assert planted(MONDAY, 1, quiet_days=2)[0].start.date() == MONDAY
    assert min(attack.start for attack in planted(MONDAY, 6, quiet_days=0)).date() <= MONDAY + timedelta(days=1)


def test_a_longer_time_has_several_instances_of_each_kind():
    kinds = [attack.kind for attack in planted(MONDAY, 7)]
    assert all(kinds.count(kind) == 2 for kind in ATTACKS)
    assert planted(MONDAY, 7, attacks=()) == []


def test_the_number_of_flows_is_about_what_was_asked_for_and_small_at_the_weekend():
    workday = whole(attacks=()).num_rows
    assert workday == pytest.approx(FLOWS, rel=0.1)
    days = dict.fromkeys((MONDAY + timedelta(days=index) for index in range(7)), 0)
    for day, table in generate_days(MONDAY, 7, flows_per_day=1500, hosts=60, attacks=()):
        days[day] += table.num_rows
    assert max(list(days.values())[5:]) < 0.7 * min(list(days.values())[:5])


def test_the_office_works_by_its_own_clock():
    def busiest(offset):
        hours = (
            whole(attacks=(), utc_offset_h=offset, flows_per_day=3000)["stime"].cast(pa.int64()).to_numpy()
            // 3_600_000_000
        )
        counts = np.bincount(hours % 24, minlength=24)
        return float((np.arange(24) * counts).sum() / counts.sum())

    assert busiest(-5) > busiest(0) + 2


def test_columns_agree_with_each_other(week):
    table = week["table"]
    columns = {
        name: table[name].to_numpy()
        for name in ("sbytes", "dbytes", "orig_bytes", "resp_bytes", "spkts", "dpkts", "pcr")
    }
    state, proto = table["conn_state"].to_pylist(), np.array(table["proto"].to_pylist())
    silent = np.isin(state, ["S0"])
    assert (columns["dpkts"][silent] == 0).all()
    assert (columns["dpkts"][~silent] > 0).all()
    assert (columns["spkts"] > 0).all()
    assert (columns["resp_bytes"][silent | np.isin(state, ["REJ"])] == 0).all()
    header = np.where(proto == "tcp", 40, 28)
    assert (columns["sbytes"] == columns["orig_bytes"] + header * columns["spkts"]).all()
    assert (columns["dbytes"] == columns["resp_bytes"] + header * columns["dpkts"]).all()
    assert np.abs(columns["pcr"]).max() <= 10
    micros = pc.subtract(table["etime"].cast(pa.int64()), table["stime"].cast(pa.int64()))
    assert (micros.to_numpy() // 1000 == table["dur"].to_numpy()).all()
    assert pc.sum(pc.equal(table["saddr"], table["daddr"])).as_py() == 0
    sealed = pc.is_in(table["service"], pa.array(["ssl", "quic"]))
    assert pc.all(pc.equal(sealed, pc.is_valid(table["ndpi_ja3s"]))).as_py()
    asked = ("proto", "saddr", "daddr", "sport", "dport")
    assert community_ids(*(table[name] for name in asked)).equals(table["community_id"].combine_chunks())


def test_innocent_regular_traffic_is_there(week):
    table = week["table"].filter(pc.equal(week["table"]["label"], "benign"))
    assert {"ntp", "snmp", "dns", "ssl", "smb", "http", "ssh"} <= set(pc.unique(table["service"]).to_pylist())
    backups = table.filter(pc.greater(table["orig_bytes"], 100_000_000))
    assert backups.num_rows > 0
    assert pc.max(pc.hour(backups.filter(pc.equal(backups["dport"], 10_051))["stime"])).as_py() < 5
    noise = table.filter(pc.equal(table["dport"], 23))
    assert pc.count_distinct(noise["conn_state"]).as_py() <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flows_per_day": 10}, "10 flows a day"),
        ({"hosts": 3}, "3 hosts"),
        ({"attacks": ("sacn",)}, "unknown attack 'sacn'"),
        ({"seed": -1}, "seed -1"),
        ({"days": 0}, "0 days"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        whole(**options)


@pytest.mark.parametrize("hosts", [20, 150, 4000, 15_000])
def test_the_office_has_its_hosts_and_no_address_twice(hosts):
    network = Network(hosts, 0)
    inside = np.concatenate([network.groups[name] for name in ("servers", "dmz", "things", "people")])
    assert len(np.unique(inside)) == len(inside)
    assert len(inside) == pytest.approx(hosts, abs=5)
    assert inside.max() < network.inside
    assert len(np.unique(network.addresses)) == len(network.addresses) == network.groups["hostile"][-1] + 1
