"""Novelty detectors in a watch: what is told, to whom; the same live and over history, after a kill, in any batches."""

import json
import random

import pyarrow as pa
import pytest

from tocsin.app import App
from tocsin.app_watch import build_watch
from tocsin.detectors.novelty.definition import build
from tocsin.errors import ModelError, SettingsError
from tocsin.jobs.novelty import Novelty, novelty_digest
from tocsin.jobs.watch import Wanted
from tocsin.settings import Settings
from tocsin.settings_novelty import NoveltySettings
from tocsin.testing.clock import FakeClock

START = 1_736_337_600  # 2025-01-08T12:00:00Z
LOGINS = {
    "name": "logins",
    "input": "event",
    "observe": ["user", "host", "action"],
    "entity": "user",
    "warm_up": 200,
    "threshold": 0.99,
}


def logins(count=1000, seed=1):
    """Make logins of three people, each at a host of their own, with two that are out of the way."""
    rng = random.Random(seed)
    homes = {"ada": "alpha", "bob": "beta", "cy": "gamma"}
    rows = []
    for number in range(1000):
        user = rng.choice(sorted(homes))
        action = "login" if rng.random() < 0.9 else "logout"
        rows.append({"ts": START + number, "user": user, "host": homes[user], "action": action})
    rows[700] |= {"user": "ada", "host": "gamma", "action": "sudo"}
    rows[900] |= {"user": "bob", "host": "alpha", "action": "login"}
    return rows[:count]


def table(rows):
    return pa.Table.from_pylist(rows)


def novelty(*entries):
    return Novelty(build([NoveltySettings(**entry) for entry in entries or (LOGINS,)]))


def run(its, rows, batch):
    """Return what is told, as it is last told of each finding."""
    told = []
    for start in range(0, len(rows), batch):
        told += its.observe("event", table(rows[start : start + batch]))
    return told + its.finish()


def last(told):
    return {
        (each.entity, each.about): (each.score, each.raw, each.start, each.end, each.record_count, each.title)
        for each in told
    }


def test_what_is_out_of_the_way_is_told_with_what_is_usual():
    told = run(novelty(), logins(), 1000)
    sudo = next(each for each in told if each.records[-1]["action"] == "sudo")
    assert (sudo.detector, sudo.kind, sudo.entity) == ("novelty", "logins", "ada")
    assert sudo.score >= 99
    assert sudo.title.startswith("ada: unusual ")
    assert "; usually: ada, alpha, login; here: ada, gamma, sudo" in sudo.title
    assert sum(reason.share for reason in sudo.reasons) == pytest.approx(1, abs=0.02)
    assert any(reason.expected.startswith("usually ") for reason in sudo.reasons)
    assert sudo.scope == {"user": "ada", "host": "gamma", "action": "sudo"}
    assert not sudo.explicit


@pytest.mark.parametrize("batch", [1, 7, 250])
def test_batches_make_no_difference(batch):
    rows = logins(1000)
    assert last(run(novelty(), rows, batch)) == last(run(novelty(), rows, 1000))


def test_nothing_is_told_while_it_warms_up():
    its = novelty(LOGINS | {"warm_up": 2000})
    assert run(its, logins(), 100) == []
    (status,) = its.status()
    assert status.counts["warming_up"] > 0
    assert status.counts["novel"] == 0
    assert status.observed == 1000


def test_records_of_a_day_that_are_novel_in_the_same_field_are_one_finding():
    rows = logins()
    for number in range(950, 960):
        rows[number] |= {"user": "ada", "action": f"odd-{number}"}
    told = [each for each in run(novelty(), rows, 64) if each.entity == "ada" and each.about == "logins action"]
    assert told[-1].record_count >= 3
    assert len({(each.entity, each.about, each.start.date()) for each in told}) == 1
    assert len(told[-1].records) <= 20


def test_a_condition_an_expression_and_a_missing_column():
    its = novelty(LOGINS | {"observe": ["upper(user)", "nothing", "action"], "where": "action <> 'logout'"})
    run(its, logins(), 100)
    (status,) = its.status()
    assert status.observed == sum(each["action"] != "logout" for each in logins())


def test_a_record_on_which_an_expression_fails_is_set_aside():
    rows = [row | {"n": "x" if at % 10 == 0 else "1"} for at, row in enumerate(logins(100))]
    its = novelty(LOGINS | {"observe": ["user", "CAST(n AS INTEGER)"]})
    run(its, rows, 50)
    assert its.status()[0].counts["rejected"] == 10
    assert its.status()[0].observed == 90


def test_several_detectors_read_one_stream():
    its = novelty(LOGINS, LOGINS | {"name": "hosts", "observe": ["host", "action"], "entity": "host"})
    told = run(its, logins(), 100)
    assert {each.kind for each in told} == {"logins", "hosts"}
    assert [each.observed for each in its.status()] == [1000, 1000]


@pytest.mark.parametrize("cut", [1, 333, 701])
def test_one_that_goes_on_from_its_state_tells_the_same(cut):
    rows = logins()
    whole = run(novelty(), rows, 1000)
    before = novelty()
    told = before.observe("event", table(rows[:cut]))
    after = novelty()
    after.restore(before.state())
    told += run(after, rows[cut:], 90)
    assert last(told) == last(whole)
    assert after.status() == pytest.approx(after.status())


def test_a_state_of_other_detectors_is_refused():
    state = novelty().state()
    with pytest.raises(ModelError):
        novelty(LOGINS, LOGINS | {"name": "other"}).restore(state)
    with pytest.raises(ModelError):
        novelty().restore(b"nothing")


def test_a_digest_is_that_of_what_they_do():
    one, same, other = (
        build([NoveltySettings(**LOGINS | more)]) for more in ({}, {"enabled": True}, {"threshold": 0.98})
    )
    assert novelty_digest(one) == novelty_digest(same) != novelty_digest(other)
    assert novelty_digest(()) == ""


# In a whole watch


@pytest.fixture
def place(tmp_path):
    def make(name):
        settings = Settings(
            store=str(tmp_path / name), novelty=[LOGINS], metrics={"enabled": False}, watch={"checkpoint_s": 0.01}
        )
        return App(settings, clock=FakeClock())

    return make


def watched(app, path, stop=lambda: False, **wanted):
    shown = []
    watch = build_watch(app, Wanted((str(path),), **wanted), shown.append)
    try:
        tally = watch.run(stop)
    finally:
        watch.close()
    return shown, tally


def kept(app):
    found = app.ledger.findings(limit=None, order="time", include_suppressed=True)
    return {each.id: (each.score, each.raw, each.record_count, each.start, each.end, each.entity) for each in found}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_watch_tells_findings_and_says_what_it_holds(place, tmp_path):
    app = place("store")
    shown, tally = watched(app, written(tmp_path / "log.ndjson", logins()))
    assert tally.findings > 0
    assert {each.id for each in shown} >= set(kept(app))
    assert tally.novelty[0]["name"] == "logins"
    assert tally.novelty[0]["observed"] == 1000
    assert tally.summaries == []


def test_one_that_stopped_goes_on_to_the_same_findings(place, tmp_path):
    rows = logins()
    whole = place("whole")
    watched(whole, written(tmp_path / "whole.ndjson", rows))
    parts = place("parts")
    log = written(tmp_path / "log.ndjson", rows[:650])
    watched(parts, log, state="w")
    with log.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows[650:])
    _, tally = watched(parts, log, state="w")
    assert tally.novelty[0]["observed"] == 1000
    assert kept(parts) == kept(whole)


def test_other_detectors_do_not_go_on_from_what_was_kept(place, tmp_path):
    app = place("store")
    log = written(tmp_path / "log.ndjson", logins(50))
    watched(app, log, state="w")
    app.settings.novelty[0].threshold = 0.5
    with pytest.raises(ModelError, match="--fresh"):
        watched(app, log, state="w")


def test_only_those_named(place, tmp_path):
    app = place("store")
    log = written(tmp_path / "log.ndjson", logins(50))
    assert len(watched(app, log, novel=("logins",))[1].novelty) == 1
    with pytest.raises(SettingsError, match=r"no novelty detector 'x' is set up; there: logins"):
        watched(app, log, novel=("x",))
    _, tally = watched(app, log, presets=("ssh-guessing",))
    assert len(tally.novelty) == len(tally.summaries) == 1
