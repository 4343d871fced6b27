"""Summaries out of the settings: what is filled in, and what each mistake is told."""

import pytest

from tocsin.detectors.summary import hll
from tocsin.detectors.summary.accumulator import REDUCERS
from tocsin.detectors.summary.build import build, doubts, resolved
from tocsin.detectors.summary.condition import Condition, Growing, Guard
from tocsin.detectors.summary.definition import Input, Reducer
from tocsin.detectors.summary.presets import PRESETS
from tocsin.detectors.summary.reducers import BOUNDS, MOST_REGISTERS, RESULTS
from tocsin.errors import SettingsError
from tocsin.settings import Settings

SSH = {
    "name": "ssh-guessing",
    "input": "zeek.ssh",
    "where": "auth_success = false",
    "key": {"host": "id.orig_h"},
    "observe": 1,
    "reduce": {
        "attempts": "sum",
        "servers": {"unique": "id.resp_h", "max": 1000},
        "some": {"sample": "id.resp_h", "size": 5},
    },
    "epoch": "30m",
    "threshold": "attempts >= 30",
    "severity": "high",
    "title": "{host} guessed passwords {attempts:.0f} times on {servers} servers",
}
MINUTE_US = 60_000_000


def built(**changes):
    (summary,) = build(Settings(summaries=[{**SSH, **changes}]).summaries)
    return summary


def complaint(*entries: dict) -> str:
    with pytest.raises(SettingsError) as caught:
        build(Settings(summaries=list(entries)).summaries)
    return str(caught.value)


def wrong(**changes) -> str:
    entry = {key: value for key, value in {**SSH, **changes}.items() if value is not None}
    return complaint(entry)


def test_the_example_of_the_documents():
    summary = built()
    assert summary.inputs == (
        Input(
            kind="zeek.ssh",
            where="auth_success = false",
            key={"host": "id.orig_h"},
            observe="1",
            time="ts",
            reduce=(
                Reducer("attempts", "sum"),
                Reducer("servers", "unique", "id.resp_h", {"max": 1000}),
                Reducer("some", "sample", "id.resp_h", {"size": 5}),
            ),
        ),
    )
    assert (summary.key_parts, summary.entity, summary.kind) == (("host",), "host", "ssh-guessing")
    assert (summary.window_us, summary.step_us, summary.lateness_us) == (30 * MINUTE_US, 30 * MINUTE_US, 5 * MINUTE_US)
    assert summary.condition == Condition("attempts >= 30", Growing("guard", Guard("attempts", 30.0)))
    assert (summary.levels, summary.severities) == ((), ("high",))
    assert (summary.max_keys, summary.max_bytes) == (1_000_000, 512 << 20)


@pytest.mark.parametrize(
    ("kind", "time"),
    [
        ("flow", "coalesce(etime, stime)"),
        ("zeek.conn", "ts + to_microseconds(CAST(coalesce(duration, 0) * 1e6 AS BIGINT))"),
        ("eve.alert", "timestamp"),
        ("event", "ts"),
    ],
)
def test_the_time_of_a_record_kind(kind, time):
    assert built(input=kind).inputs[0].time == time
    assert built(input=kind, time="stime").inputs[0].time == "stime"


def test_levels_get_graver_unless_told():
    series = {"of": "attempts", "at": [30, 300, 3000]}
    summary = built(threshold=series)
    assert summary.condition == Condition("attempts", Growing("guard", Guard("attempts", 30.0)))
    assert summary.levels == (30, 300, 3000)
    assert summary.severities == ("high", "critical", "critical")
    assert built(threshold=series, severity=["low", "low", "high"]).severities == ("low", "low", "high")


def test_a_ratio_is_no_growing_condition():
    assert built(threshold={"of": "attempts / servers", "at": [3, 30]}).condition.growing is None
    assert built(threshold="attempts / servers > 3 AND host <> '10.0.0.1'").condition.growing is None


def test_windows():
    sliding = built(epoch="1h", every="5m", lateness="90s", origin="first")
    assert (sliding.window_us, sliding.step_us, sliding.lateness_us) == (3_600_000_000, 300_000_000, 90_000_000)
    assert sliding.origin == "first"
    manual = built(epoch="manual")
    assert (manual.window_us, manual.step_us) == (0, 0)


def test_several_inputs_have_one_order_of_key_parts():
    some = {"input": "flow", "key": {"host": "saddr", "port": "dport"}, "reduce": {"sent": "count"}}
    more = {"input": "eve.flow", "key": {"port": "dest_port", "host": "src_ip"}, "reduce": {"seen": "count"}}
    (summary,) = build(
        Settings(
            summaries=[{"name": "two", "epoch": "1m", "inputs": [some, more], "threshold": "sent > seen"}]
        ).summaries
    )
    assert [list(each.key) for each in summary.inputs] == [["host", "port"], ["host", "port"]]
    assert [reducer.name for reducer in summary.reducers] == ["sent", "seen"]
    assert complaint({"name": "two", "epoch": "1m", "inputs": [some, {**more, "key": {"host": "src_ip"}}]}) == (
        "summaries.0.inputs.1.key: must have the same parts as the first input: host, port"
    )
    assert complaint({"name": "two", "epoch": "1m", "inputs": [some, {**more, "reduce": {"SENT": "count"}}]}) == (
        "summaries.0: 'SENT' is the name of two key parts or results; give each its own"
    )


def test_who_a_finding_is_about():
    parts = {"peer": "id.resp_h", "host": "id.orig_h"}
    assert built(key=parts).entity == "host"
    assert built(key=parts, entity="peer").entity == "peer"
    assert built(key={"net": "a", "peer": "b"}, title="").entity == "net"
    nobody = built(key={}, title="")
    assert (nobody.entity, nobody.title) == ("", "ssh-guessing (attempts {attempts}, servers {servers})")
    assert built(title="").title == "{entity}: ssh-guessing (attempts {attempts}, servers {servers})"


def test_what_is_new_is_judged_after_learning():
    summary = built(new_for="7d")
    assert summary.new_for_us == summary.learn_us == 7 * 1440 * MINUTE_US
    assert summary.condition == Condition("attempts >= 30", None)
    assert built(new_for="7d", learn="1d").learn_us == 1440 * MINUTE_US
    assert built(new_for="7d", learn=0).learn_us == 0


def test_every_reducer_is_known_with_its_bounds():
    for kind, (_, options) in REDUCERS.items():
        summary = built(reduce={"attempts": {kind: "id.resp_h"}}, threshold="", title="")
        assert summary.reducers[0].options == options
        assert kind in RESULTS
        for option, value in options.items():
            assert option == "by" or BOUNDS[kind, option].allows(value)
    assert {kind for kind, _ in BOUNDS} <= REDUCERS.keys()


def test_regularity_and_counts_need_no_value():
    summary = built(reduce={"attempts": "count", "even": "regularity", "first": "first_seen"}, title="")
    assert [reducer.of for reducer in summary.reducers] == ["", "", ""]


def test_what_is_too_exact_is_refused_where_the_sketch_gives_up():
    assert 1 << hll.PRECISIONS[-1] == MOST_REGISTERS


def test_max_is_a_reducer_and_an_option():
    reducers = built(reduce={"a": {"max": "x"}, "b": {"max": 9, "unique": "y"}}, threshold="", title="").reducers
    assert reducers == (Reducer("a", "max", "x"), Reducer("b", "unique", "y", {"max": 9}))


def test_a_preset_with_keys_of_ones_own():
    entries = Settings(summaries=[{"preset": "ssh-guessing", "name": "mine", "threshold": "attempts >= 5"}]).summaries
    (summary,) = build(entries)
    assert (summary.name, summary.condition.sql, summary.window_us) == ("mine", "attempts >= 5", 30 * MINUTE_US)
    assert [entry.name for entry in resolved(entries)] == ["mine"]
    assert resolved(Settings(summaries=[{"preset": "traceroute"}]).summaries)[0].name == "traceroute"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_good(preset):
    (summary,) = build(Settings(summaries=[{"preset": preset}]).summaries)
    assert summary.name == preset
    assert doubts(summary) == []


def test_columns_that_may_be_misspelt():
    assert doubts(built(input="flow", where="proto = 'tcp'", key={"host": "sadr"})) == [("sadr", "saddr")]
    assert doubts(built(input="eve.ssh", key={"host": "scr_ip"})) == []


def test_what_is_switched_off_is_not_looked_at():
    assert build(Settings(summaries=[{"preset": "nosuch", "enabled": False}]).summaries) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "summaries.0.name: must be set"),
        ({"input": None}, "summaries.0.input: must be set; such as flow, zeek.ssh, eve.alert, event"),
        ({"input": "netflow"}, "summaries.0.input: is no record kind (got 'netflow'); such as"),
        ({"where": "lower(x"}, "summaries.0.where: 'lower(x': Parser Error: syntax error"),
        (
            {"key": {"host": "count(*)"}},
            "summaries.0.key.host: 'count(*)': Binder Error: this expression cannot contain",
        ),
        ({"key": {"a b": "x"}}, "summaries.0.key.a b: 'a b' must be of letters, digits and _"),
        ({"key": {"level": "x"}}, "summaries.0.key.level: 'level' has a meaning of its own in titles"),
        ({"observe": "nosuch(x)"}, "summaries.0.observe: 'nosuch(x)': Catalog Error: Scalar Function with name nosuch"),
        ({"time": "a b"}, "summaries.0.time: 'a b': Parser Error"),
        ({"reduce": None}, "summaries.0.reduce: must name a result at least"),
        ({"reduce": {"a": "totl"}}, "summaries.0.reduce.a: 'totl' is no reducer; there are: sum, count,"),
        ({"reduce": {"a": {"uniqe": "x"}}}, "summaries.0.reduce.a: 'uniqe' is no reducer; did you mean 'unique'?"),
        (
            {"reduce": {"a": 5}},
            "summaries.0.reduce.a: must be a reducer or a map {reducer: SQL, option: value} (got 5)",
        ),
        (
            {"reduce": {"a": {"sum": "x", "size": 3}}},
            "summaries.0.reduce.a: 'size' is no option of sum, which takes no",
        ),
        (
            {"reduce": {"a": {"topk": "x", "max": 3}}},
            "summaries.0.reduce.a: 'max' is no option of topk, which takes size",
        ),
        (
            {"reduce": {"a": {"unique": "x", "max": 0}}},
            "summaries.0.reduce.a: max must be a whole number from 1 to 100,000,000 (got 0)",
        ),
        (
            {"reduce": {"a": {"quantile": "x", "q": 99}}},
            "summaries.0.reduce.a: q must be a number from 0 to 1 (got 99)",
        ),
        (
            {"reduce": {"a": {"hll_unique": "x", "error": 0.001, "confidence": 0.999}}},
            "summaries.0.reduce.a: error must be 0.0017 or more at confidence 0.999 (got 0.001)",
        ),
        ({"reduce": {"a": "unique"}}, "summaries.0.reduce.a: must say what of: {unique: SQL}"),
        ({"reduce": {"a": {"sum": "x +"}}}, "summaries.0.reduce.a: 'x +': Parser Error"),
        ({"reduce": {"a": {"regularity": "x", "by": "x +"}}}, "summaries.0.reduce.a: 'x +': Parser Error"),
        ({"reduce": {"host": "sum"}}, "summaries.0: 'host' is the name of two"),
        ({"epoch": None}, "summaries.0.epoch: must be set, such as 30m, or manual"),
        ({"every": "7m"}, "summaries.0.every: must divide epoch (1800 s) without rest (got 420 s)"),
        ({"every": "1s"}, "summaries.0.every: must be 30 s at least, epoch / 60 (got 1 s)"),
        ({"every": 0}, "summaries.0.every: must divide"),
        ({"epoch": "manual", "every": "1s"}, "summaries.0.every: goes with an epoch that has a length"),
        ({"threshold": "attempts >="}, "summaries.0.threshold: 'attempts >=': Parser Error"),
        (
            {"threshold": "atempts >= 3"},
            "summaries.0.threshold: 'atempts' is no key part and no result; did you mean 'at",
        ),
        ({"threshold": "attempts"}, "summaries.0.threshold: 'attempts' must be true or false, such as attempts >= 30"),
        ({"threshold": "list_sum(host) > 3"}, "summaries.0.threshold: 'list_sum(host) > 3': Binder Error"),
        ({"threshold": "servers >= 2000"}, "summaries.0.threshold: servers counts no further than its max, 1,000, and"),
        (
            {"threshold": {"of": "servers", "at": [9, 1e4]}},
            "summaries.0.threshold.of: servers counts no further than its",
        ),
        ({"threshold": {"of": "host", "at": [1]}}, "summaries.0.threshold.of: 'host' must be a number"),
        ({"severity": ["low", "high"]}, "summaries.0.severity: must be one, or one a level (1); got 2"),
        ({"title": "{"}, "summaries.0.title: '{': "),
        (
            {"title": "{hots}"},
            "summaries.0.title: 'hots' is none of its names: host, attempts, servers, some, duration,",
        ),
        ({"title": "{host:.0f}"}, "summaries.0.title: {host:.0f} does not fit its value"),
        ({"title": "{servers.real}"}, "summaries.0.title: 'servers.real' is none of its names"),
        ({"entity": "peer"}, "summaries.0.entity: 'peer' is no key part (there is: host)"),
        ({"new_for": "7d", "threshold": ""}, "summaries.0.new_for: needs a key and a threshold"),
        ({"preset": "ssh-gesing"}, "summaries.0.preset: there is no preset 'ssh-gesing'; did you mean 'ssh-guessing'?"),
        ({"preset": "traceroute"}, "summaries.0: inputs and input are both set"),
    ],
)
def test_a_mistake_is_told_by_key(changes, said):
    assert wrong(**changes).startswith(said)


def test_everything_that_is_wrong_is_told():
    both = complaint({**SSH, "epoch": "1m", "every": "7s"}, SSH, SSH, {**SSH, "name": "b", "title": "{x}"})
    assert [line.partition(":")[0] for line in both.splitlines()] == [
        "summaries.0.every",
        "summaries.2.name",
        "summaries.3.title",
    ]
