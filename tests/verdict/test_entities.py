from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import InputError
from tocsin.verdict.entities import RECORDS, FlowEntities
from tocsin.verdict.severity import Cutoffs

DAY = datetime(2025, 1, 8, tzinfo=UTC)
HOME = ["10.0.0.0/8"]
TIME = pa.timestamp("us", tz="UTC")


def flow(at, saddr, daddr, score, *, dport=443, sbytes=1000, proto="tcp", reasons=(("dport", 0.7), ("sbytes", 0.3))):
    record = {
        "flowid": f"f{at:06d}",
        "stime": DAY + timedelta(seconds=at),
        "etime": DAY + timedelta(seconds=at + 5),
        "saddr": saddr,
        "daddr": daddr,
        "dport": dport,
        "proto": proto,
        "sbytes": sbytes,
        "raw": score / 10,
        "score": score,
        "model": "tcp-1",
    }
    for number, (field, share) in enumerate(reasons, 1):
        record |= {f"reason_{number}": field, f"reason_{number}_share": share}
    return record


def table(flows):
    result = pa.Table.from_pylist(flows)
    for name, kind in (("stime", TIME), ("etime", TIME), ("reason_1_share", pa.float32()), ("dport", pa.uint16())):
        result = result.set_column(result.column_names.index(name), name, result.column(name).cast(kind))
    at = result.column_names.index("reason_1")
    return result.set_column(at, "reason_1", result.column("reason_1").dictionary_encode())


def entities(**changes):
    options = {"cutoffs": Cutoffs(), "home_networks": HOME, "expected": "{} as usual".format} | changes
    return FlowEntities(**options)


def candidates(flows, **changes):
    gathered = entities(**changes)
    gathered.add(table(flows))
    return gathered.candidates()


def quiet(n, saddr="10.0.0.7", start=0):
    return [flow(start + at, saddr, "8.8.8.8", 50.0) for at in range(n)]


def test_says_who_how_many_and_why():
    odd = [flow(1000 + at, "10.0.0.7", "1.2.3.4", 99.95, dport=4444, sbytes=5000 + at) for at in range(41)]
    (found,) = candidates(quiet(339) + odd)
    assert found.entity == "10.0.0.7"
    assert found.title == "10.0.0.7 made 41 unusual flows (0.4 expected of 380): dport, sbytes out of the ordinary"
    assert found.score > 99.99
    assert found.start == DAY + timedelta(seconds=1000)
    assert found.end == DAY + timedelta(seconds=1045)
    assert [(each.field, each.seen, each.expected) for each in found.reasons] == [
        ("dport", "4444", "dport as usual"),
        ("sbytes", "5000 to 5040, median 5020", "sbytes as usual"),
    ]
    assert [each.share for each in found.reasons] == pytest.approx([0.7, 0.3], abs=1e-3)
    assert found.scope == {"saddr": "10.0.0.7"}
    assert found.record_count == 41
    assert len(found.records) == RECORDS
    assert found.records[0]["dport"] == 4444
    assert "entity" not in found.records[0]
    assert found.model == "tcp-1"


def test_few_unusual_flows_of_many_are_nobodys_business():
    assert candidates(quiet(5000) + [flow(9000 + at, "10.0.0.7", "1.1.1.1", 99.95) for at in range(6)]) == []
    assert candidates(quiet(10)) == []
    assert candidates([flow(1, "10.0.0.7", "1.1.1.1", 99.95)]) == []
    assert entities().candidates() == []


def test_more_is_worse():
    def score(n):
        return candidates(quiet(1000) + [flow(2000 + at, "10.0.0.7", "1.1.1.1", 99.95) for at in range(n)])[0].score

    scores = [score(n) for n in (8, 12, 20, 60)]
    assert scores == sorted(set(scores))
    assert scores[-1] < 100


def test_one_flow_far_beyond_is_told_but_not_critical():
    (found,) = candidates([*quiet(50), flow(99, "10.0.0.7", "1.1.1.1", 100 - 1e-7)])
    assert "10.0.0.7 made a flow far beyond what is normal, among 51: dport" in found.title
    assert 99.9 < found.score < 99.99


@pytest.mark.parametrize(
    ("saddr", "daddr", "entity", "verb"),
    [
        ("10.0.0.1", "9.9.9.9", "10.0.0.1", "made"),
        ("9.9.9.9", "10.0.0.1", "10.0.0.1", "received"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1", "made"),
        ("9.9.9.9", "8.8.8.8", "9.9.9.9", "made"),
        ("printer", "fe80::1%eth0", "printer", "made"),
    ],
)
def test_the_entity_is_our_end(saddr, daddr, entity, verb):
    (found,) = candidates([flow(at, saddr, daddr, 99.95) for at in range(20)])
    assert found.entity == entity
    assert f"{entity} {verb} 20" in found.title


def test_both_directions():
    flows = [flow(at, "10.0.0.1", "9.9.9.9", 99.95) for at in range(10)]
    (found,) = candidates(flows + [flow(50 + at, "9.9.9.9", "10.0.0.1", 99.95) for at in range(10)])
    assert "had 20 unusual flows" in found.title
    assert found.scope == {}


def test_a_day_unusual_as_a_whole_is_not_each_hosts_fault():
    hosts = [f"10.0.0.{number}" for number in range(10)]
    flows = [flow(at, host, "1.1.1.1", 99.95 if at % 10 == 0 else 50.0) for host in hosts for at in range(300)]
    assert candidates(flows) == []
    worse = [flow(at, "10.0.1.1", "1.1.1.1", 99.95) for at in range(400)]
    assert [each.entity for each in candidates(flows + worse)] == ["10.0.1.1"]
    # Planted fault: without the day's own rate every host would be told of.
    assert len(candidates([each for each in flows if each["saddr"] < "10.0.0.5"])) == 5


def test_expected_by_protocol():
    flows = [flow(at, "10.0.0.1", "9.9.9.9", 99.95, proto="udp") for at in range(20)]
    (found,) = candidates(flows, expected={"udp": lambda field: f"udp {field}", "tcp": str.upper})
    assert found.reasons[0].expected == "udp dport"
    (found,) = candidates(flows, expected={})
    assert found.reasons[0].expected == ""


def test_many_values_are_summed_up():
    scan = [flow(at, "10.0.0.1", "9.9.9.9", 99.95, dport=1 + at) for at in range(3000)]
    (found,) = candidates(scan)
    told = found.reasons[0].seen
    assert "in all" in told
    about = int(told.split("about ")[1].split()[0].replace(",", ""))
    assert 2000 <= about <= 4200
    few = candidates(scan[:10])[0].reasons[0].seen
    assert few.endswith(" and 7 more")


def test_reasons_without_their_column_and_columns_that_come_and_go():
    gathered = entities()
    first = [flow(at, "10.0.0.1", "9.9.9.9", 99.95, reasons=(("hour", 1.0),)) for at in range(9)]
    second = [flow(20 + at, "10.0.0.1", "9.9.9.9", 99.95, reasons=(("hour", 1.0),)) for at in range(9)]
    gathered.add(table(first))
    gathered.add(table(second).drop_columns(["etime", "flowid", "model", "sbytes"]))
    (found,) = gathered.candidates()
    assert [(each.field, each.seen, each.share) for each in found.reasons] == [("hour", "", 1.0)]
    assert found.record_count == 18


def test_a_missing_column_is_named():
    with pytest.raises(InputError, match="raw, score"):
        entities().add(table(quiet(1)).drop_columns(["raw", "score"]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_order_and_split_do_not_matter(seed, parts):
    rng = np.random.default_rng(seed)
    flows = [
        flow(
            at,
            f"10.0.0.{rng.integers(4)}",
            f"1.1.1.{rng.integers(9)}",
            float(rng.choice([50.0, 99.95, 99.999])),
            dport=int(rng.integers(1, 500)),
            sbytes=int(rng.integers(1, 90)),
            reasons=(("dport", float(rng.random())), ("sbytes", float(rng.random()))),
        )
        for at in range(400)
    ]
    whole = candidates(flows)
    order = rng.permutation(len(flows))
    gathered = entities()
    for part in np.array_split(order, parts):
        gathered.add(table([flows[at] for at in part]))
    assert [asdict(each) for each in gathered.candidates()] == [asdict(each) for each in whole]
    assert whole


def test_what_a_host_has_every_day_is_expected_of_it() -> None:
    """A public server receives odd flows every day; the first day is news, the same again is not, twice as much is."""

    def day(high: int, usual: list[pa.Table]) -> FlowEntities:
        entities = FlowEntities(Cutoffs(), ["10.0.0.0/8"], str, usual=usual)
        n = 800
        entities.add(
            pa.table({
                "flowid": [f"f{i}" for i in range(n)],
                "stime": pa.array([datetime(2025, 1, 6, tzinfo=UTC)] * n, pa.timestamp("us", tz="UTC")),
                "saddr": ["198.51.100.7"] * n, "daddr": ["10.0.0.9"] * n, "proto": ["tcp"] * n,
                "raw": [9.0] * high + [1.0] * (n - high), "score": [99.95] * high + [10.0] * (n - high),
            })
        )  # fmt: skip
        return entities

    first = day(10, [])
    assert [item.entity for item in first.candidates()] == ["10.0.0.9"]
    history = [first.tally(), day(9, []).tally()]
    assert history[0].to_pylist() == [{"entity": "10.0.0.9", "flows": 800, "high": 10}]
    again = day(11, history).candidates()
    assert not again or again[0].score < 90
    assert day(120, history).candidates()[0].score > 99.9
