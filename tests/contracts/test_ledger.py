"""One suite over the ledger's databases, SQLite and PostgreSQL."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import LedgerError
from tocsin.ledger import migrations, schema
from tocsin.ledger.keys import hash_of
from tocsin.ledger.ledger import Ledger
from tocsin.records.finding import Finding, Reason
from tocsin.records.suppression import Suppression
from tocsin.testing.clock import FakeClock

DAY = datetime(2025, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/below/ledger.sqlite"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(url: str, clock: FakeClock) -> Iterator[Ledger]:
    opened = Ledger(url, clock=clock)
    yield opened
    opened.close()


def a_finding(identity: str = "f1", **changes: Any) -> Finding:
    finding = Finding(
        id=identity,
        domain="office",
        detector="outlier",
        kind="unusual-flows",
        entity="10.0.0.1",
        start=DAY + 9 * HOUR,
        end=DAY + 10 * HOUR,
        raw=5.0,
        score=99.5,
        severity="medium",
        title="10.0.0.1 sends far more than usual",
        reasons=[Reason("sbytes", "9 GB", "at most 2 MB", 0.8), Reason("dport", "4444", "443", 0.2)],
        records=[{"saddr": "10.0.0.1", "sbytes": 9_000_000_000, "dns": None}],
        record_count=3,
        scope={"saddr": "10.0.0.1", "proto": "tcp"},
        about="tcp",
        model="tcp/1",
        state="new",
        count=1,
        suppressed_by="",
        created=DAY,
        updated=DAY,
    )
    return replace(finding, **changes)


def a_rule(identity: str = "r1", **changes: Any) -> Suppression:
    return replace(
        Suppression(identity, owner="ana", reason="backup server", created=DAY, entity="10.0.0.1"), **changes
    )


def test_a_finding_comes_back_as_it_was(ledger: Ledger) -> None:
    finding = a_finding()
    assert ledger.upsert_findings([finding]) == [True]
    assert ledger.finding("f1") == finding


def test_what_a_database_refuses_is_replaced(ledger: Ledger) -> None:
    odd = a_finding(entity="a\x00b\udc80", records=[{"rate": math.nan, "note": "\x00", "at": DAY}])
    ledger.upsert_findings([odd])
    found = ledger.finding("f1")
    assert found.entity == "a\ufffdb?"
    assert found.records == [{"rate": None, "note": "\ufffd", "at": "2025-01-08T00:00:00Z"}]


def test_times_in_other_zones_are_kept_in_utc(ledger: Ledger) -> None:
    from datetime import timezone

    there = timezone(timedelta(hours=5))
    ledger.upsert_findings([a_finding(start=(DAY + 9 * HOUR).astimezone(there))])
    found = ledger.finding("f1")
    assert found.start == DAY + 9 * HOUR
    assert found.start.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="without a zone"):
        ledger.upsert_findings([a_finding(start=datetime(2025, 1, 8))])  # noqa: DTZ001 - that is the point


def test_the_same_records_scored_again_change_nothing(ledger: Ledger, clock: FakeClock) -> None:
    first, second = (
        a_finding(),
        a_finding(start=DAY + 12 * HOUR, end=DAY + 13 * HOUR, score=99.95, severity="high", raw=7.0),
    )
    ledger.upsert_findings([first, second])
    before = ledger.finding("f1")
    clock.advance(60)
    assert ledger.upsert_findings([first, second]) == [False, False]
    assert ledger.finding("f1") == before
    assert before.count == 2


def test_a_sighting_widens_and_keeps_the_highest_score(ledger: Ledger, clock: FakeClock) -> None:
    ledger.upsert_findings([a_finding()])
    clock.advance(60)
    graver = a_finding(
        start=DAY + 8 * HOUR, score=99.95, severity="high", raw=7.0, record_count=2, title="graver", scope={"x": 1}
    )
    milder = a_finding(end=DAY + 15 * HOUR, score=96.0, severity="low", raw=1.0, record_count=9, title="milder")
    assert ledger.upsert_findings([graver, milder]) == [False, False]
    found = ledger.finding("f1")
    assert (found.start, found.end) == (DAY + 8 * HOUR, DAY + 15 * HOUR)
    assert (found.score, found.raw, found.severity, found.title) == (99.95, 7.0, "high", "graver")
    assert (found.record_count, found.count, found.scope) == (9, 3, {"x": 1})
    assert (found.created, found.updated) == (DAY, clock.now())


def test_the_same_records_scored_higher_do_not_count_twice(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding()])
    ledger.upsert_findings([a_finding(score=99.99, raw=9.0, severity="critical")])
    found = ledger.finding("f1")
    assert (found.count, found.severity) == (1, "critical")


def test_the_order_of_sightings_does_not_matter(ledger: Ledger) -> None:
    sightings = [
        {"start": DAY + 9 * HOUR, "score": 97.0, "raw": 2.0, "title": "a", "suppressed_by": "r1"},
        {"start": DAY + 7 * HOUR, "score": 99.0, "raw": 4.0, "title": "b"},
        {"start": DAY + 8 * HOUR, "score": 98.0, "raw": 3.0, "title": "c", "suppressed_by": "r1"},
    ]
    orders = list(itertools.permutations(sightings))
    for number, order in enumerate(orders):
        for sighting in order:
            ledger.upsert_findings([a_finding(f"f{number}", **sighting)])
    ends = {repr(replace(ledger.finding(f"f{number}"), id="")) for number in range(len(orders))}
    assert len(ends) == 1


def test_state_and_labels_stay(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding()])
    ledger.label("f1", "false_positive", who="ana", note="backup")
    ledger.upsert_findings([a_finding(score=100.0, raw=99.0)])
    assert ledger.finding("f1").state == "false_positive"
    assert [(label.finding_id, label.who, label.note) for label in ledger.labels()] == [("f1", "ana", "backup")]


def test_all_or_none_are_kept(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.upsert_findings([a_finding("a"), a_finding("b", title=None)])
    assert ledger.findings() == []


@pytest.mark.parametrize("order", ["score", "time"])
def test_pages_behind_each_other_are_the_whole(ledger: Ledger, order: Any) -> None:
    changes = [{"score": 99.0 + score, "start": DAY + start * HOUR} for score in (0, 0.5) for start in (1, 2)]
    ledger.upsert_findings([a_finding(f"f{n}", **changes[n % 4]) for n in range(12)])
    whole = ledger.findings(order=order)
    pages, after = [], None
    while page := ledger.findings(order=order, limit=5, after=after):
        after = page[-1]
        pages += page
    assert pages == whole


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["c", "b", "a"]),
        ({"order": "time"}, ["b", "a", "c"]),
        ({"limit": 1, "offset": 1}, ["b"]),
        ({"domain": "plant"}, []),
        ({"entity": "10.0.0.2"}, ["b"]),
        ({"detector": "hosts"}, ["c"]),
        ({"kind": "beacon"}, ["c"]),
        ({"min_severity": "high"}, ["c"]),
        ({"state": "new"}, ["c", "b", "a"]),
        ({"since": DAY + 11 * HOUR}, ["b"]),
        ({"until": DAY + 9 * HOUR}, ["c"]),
        ({"since": DAY + 10 * HOUR, "until": DAY + 11 * HOUR}, ["a"]),
        ({"include_suppressed": True}, ["hidden", "c", "b", "a"]),
    ],
)
def test_findings_are_filtered(ledger: Ledger, filters: dict[str, Any], expected: list[str]) -> None:
    ledger.upsert_findings(
        [
            a_finding("a"),
            a_finding("b", entity="10.0.0.2", start=DAY + 12 * HOUR, end=DAY + 13 * HOUR, score=99.6),
            a_finding("c", detector="hosts", kind="beacon", severity="high", score=99.9, start=DAY, end=DAY + HOUR),
            a_finding("hidden", score=100.0, suppressed_by="r1", start=DAY, end=DAY + HOUR),
        ]
    )
    assert [finding.id for finding in ledger.findings(**filters)] == expected
    if not {"order", "limit"} & filters.keys():
        assert ledger.count_findings(**filters) == len(expected)


def test_a_finding_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding("ab12"), a_finding("ab34"), a_finding("ab")])
    assert ledger.finding("ab1").id == "ab12"
    assert ledger.finding("ab").id == "ab"
    with pytest.raises(LedgerError, match="several findings: ab, ab12, ab34"):
        ledger.finding("a")
    assert ledger.findings_by_id(["x", "a\x00", "\udc80"]) == {}
    for absent in ("x", "", "%", "_b12", "\x00"):
        with pytest.raises(LedgerError, match="there is no finding"):
            ledger.finding(absent)


def test_findings_of_a_day_are_counted_for_the_budget(ledger: Ledger) -> None:
    late = DAY + timedelta(days=1) - timedelta(microseconds=1)
    ledger.upsert_findings(
        [
            a_finding("a"),
            a_finding("b", start=late, end=late + HOUR),
            a_finding("c", suppressed_by="r1"),
            a_finding("d", start=late + HOUR, end=late + HOUR),
            a_finding("e", detector="hosts"),
        ]
    )
    assert ledger.count_new_findings("office", "outlier", DAY.date()) == 2


def test_records_behind_grave_findings_are_told_for_a_day(ledger: Ledger) -> None:
    ledger.upsert_findings(
        [
            a_finding("high", severity="high", scope={"saddr": "10.0.0.9"}),
            a_finding("over-midnight", severity="critical", start=DAY - HOUR, end=DAY + HOUR),
            a_finding("medium"),
            a_finding("known", severity="high", suppressed_by="r1"),
            a_finding("normal", severity="high"),
            a_finding("before", severity="high", start=DAY - 2 * HOUR, end=DAY - HOUR),
        ]
    )
    ledger.label("normal", "false_positive", who="ana")
    found = ledger.findings_scopes("office", DAY.date(), "high")
    assert [finding.id for finding in found] == ["high", "over-midnight"]
    assert found[0].scope == {"saddr": "10.0.0.9"}


def test_findings_are_hidden_and_shown(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding("a"), a_finding("b")])
    assert ledger.set_suppressed(["a", "a", "absent"], "r1") == 1
    assert [finding.id for finding in ledger.findings()] == ["b"]
    assert ledger.set_suppressed(["a"], "") == 1
    assert ledger.count_findings() == 2


def test_labels_are_kept_in_order(ledger: Ledger, clock: FakeClock) -> None:
    ledger.upsert_findings([a_finding("a"), a_finding("b")])
    ledger.label("a", "acknowledged", who="ana")
    clock.advance(60)
    assert ledger.label("a", "true_positive", who="bo", note="bot").state == "true_positive"
    ledger.label("b", "closed", who="bo")
    assert [label.state for label in ledger.labels("a")] == ["acknowledged", "true_positive"]
    assert [label.finding_id for label in ledger.labels(since=clock.now())] == ["a", "b"]
    with pytest.raises(LedgerError, match="'wrong' is no state"):
        ledger.label("a", "wrong", who="ana")  # type: ignore[arg-type]


def test_rules_are_kept_counted_and_removed(ledger: Ledger) -> None:
    rule = a_rule(network="10.0.0.0/8", valid_from=DAY, valid_until=DAY + HOUR, expires=DAY + HOUR)
    ledger.add_suppression(rule)
    ledger.add_suppression(a_rule("r2"))
    assert ledger.suppressions() == [rule, a_rule("r2")]
    assert [kept.id for kept in ledger.suppressions(active_at=DAY + HOUR)] == ["r2"]
    ledger.hit_suppression("r1", 2, DAY + HOUR)
    ledger.hit_suppression("r1", 1, DAY)
    assert ledger.suppressions()[0] == replace(rule, hits=3, last_hit=DAY + HOUR)
    with pytest.raises(LedgerError, match="'r1' already"):
        ledger.add_suppression(rule)
    ledger.upsert_findings([a_finding(suppressed_by="r1")])
    assert ledger.remove_suppression("r1") == 1
    assert ledger.finding("f1").suppressed_by == ""
    with pytest.raises(LedgerError, match="there is no suppression 'r1'"):
        ledger.remove_suppression("r1")


def test_what_the_budget_drops_is_added_up(ledger: Ledger) -> None:
    ledger.count_budget("office", "outlier", DAY.date(), 3)
    ledger.count_budget("office", "outlier", DAY.date(), 4)
    ledger.count_budget("plant", "outlier", date(2025, 1, 9), 1)
    assert [(budget.day, budget.dropped) for budget in ledger.budgets()] == [(DAY.date(), 7), (date(2025, 1, 9), 1)]
    assert ledger.budgets("plant", since=date(2025, 1, 10)) == []


def test_jobs_are_written_down(ledger: Ledger, clock: FakeClock) -> None:
    first = ledger.start_job("sample", domain="office", piece="2025-01-07", owner="here")
    clock.advance(5)
    ledger.finish_job(first, "ok", "", {"rows": 10})
    second = ledger.start_job("sample", domain="office", piece="2025-01-07", owner="here")
    third = ledger.start_job("train", domain="office", piece="tcp", owner="there")
    done = ledger.jobs("sample")[1]
    assert (done.outcome, done.counts, done.started, done.finished) == ("ok", {"rows": 10}, DAY, clock.now())
    assert [job.id for job in ledger.jobs()] == [third, second, first]
    assert [job.id for job in ledger.jobs(limit=1)] == [third]
    assert [job.id for job in ledger.jobs(domain="office", outcome="running", before=third)] == [second]
    assert ledger.jobs(domain="plant") == []
    assert [job.id for job in ledger.last_jobs()] == [second, third]
    assert ledger.last_jobs("plant") == []
    with pytest.raises(LedgerError, match="there is no job 99"):
        ledger.finish_job(99, "ok")


def test_jobs_of_the_dead_are_closed(ledger: Ledger) -> None:
    for owner in ("alive", "dead", "dead"):
        ledger.start_job("sample", domain="office", piece=owner, owner=owner)
    assert ledger.mark_abandoned(lambda owner: owner == "dead") == 2
    assert [job.outcome for job in ledger.jobs()] == ["abandoned", "abandoned", "running"]
    assert ledger.mark_abandoned(lambda owner: owner == "dead") == 0


def test_writers_lose_nothing(url: str, clock: FakeClock) -> None:
    def write(number: int) -> None:
        opened = Ledger(url, clock=clock)
        start.wait()
        for hour in range(5):
            sighting = a_finding(start=DAY + hour * HOUR, end=DAY + 12 * HOUR, record_count=number)
            opened.upsert_findings([a_finding(f"own{number}-{hour}"), sighting])
            opened.count_budget("office", "outlier", DAY.date(), 1)
        opened.close()

    start = Barrier(3)
    threads = [Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = Ledger(url, clock=clock)
    assert ledger.finding("f1").count == 15
    assert ledger.count_findings() == 16
    assert ledger.budgets()[0].dropped == 15
    ledger.close()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sightings=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8),
    repeat=st.integers(1, 3),
)
def test_any_run_repeated_gives_the_same(
    tmp_path: Path, clock: FakeClock, sightings: list[tuple[int, int]], repeat: int
) -> None:
    ledger = Ledger("sqlite://", clock=clock)
    findings = [
        a_finding(start=DAY + hour * HOUR, end=DAY + 12 * HOUR, score=90.0 + score) for hour, score in sightings
    ]
    ledger.upsert_findings(findings)
    once = ledger.finding("f1")
    for _ in range(repeat):
        ledger.upsert_findings(findings[:repeat])
        ledger.upsert_findings(findings)
    assert ledger.finding("f1") == once
    assert once.count == len({hour for hour, _ in sightings})
    ledger.close()


def test_a_ledger_is_opened_again_as_it_was(url: str, clock: FakeClock) -> None:
    for expected in ([True], [False]):
        ledger = Ledger(url, clock=clock)
        assert ledger.upsert_findings([a_finding()]) == expected
        ledger.close()


def _versions(url: str) -> list[int]:
    engine = _engine(url)
    with engine.connect() as connection:
        found = list(connection.execute(sa.select(schema.schema_version.c.version)).scalars())
    engine.dispose()
    return found


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_two_instances_that_start_at_once_make_one_schema(url: str, clock: FakeClock) -> None:
    failures = []

    def start() -> None:
        try:
            together.wait()
            Ledger(url, clock=clock).close()
        except Exception as error:  # noqa: BLE001 - carried to the assertion
            failures.append(error)

    together = Barrier(4)
    threads = [Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert _versions(url) == [max(migrations.STEPS, default=1)]


def test_an_older_ledger_is_taken_through_the_steps(
    url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger(url, clock=clock).close()
    newest = max(migrations.STEPS, default=migrations.FIRST_VERSION)
    steps = {
        newest + 1: ("a note", lambda connection: connection.execute(sa.text("ALTER TABLE findings ADD note TEXT"))),
        newest + 2: (
            "an index",
            lambda connection: connection.execute(sa.text("CREATE INDEX by_note ON findings (note)")),
        ),
    }
    monkeypatch.setattr(migrations, "STEPS", {**migrations.STEPS, **steps})
    ledger = Ledger(url, clock=clock)
    assert ledger.version == newest + 2
    ledger.close()
    assert _versions(url) == [newest, newest + 1, newest + 2]
    monkeypatch.undo()
    with pytest.raises(LedgerError, match=rf"schema version {newest + 2}, this tocsin knows versions up to {newest}"):
        Ledger(url, clock=clock)


def test_a_ledger_of_version_1_gets_what_came_since(url: str, clock: FakeClock) -> None:
    Ledger(url, clock=clock).close()
    engine = _engine(url)
    with engine.begin() as connection:
        made_new = sa.inspect(connection).get_columns("api_keys")
        connection.execute(sa.text("DROP TABLE api_keys"))
        connection.execute(sa.text("UPDATE schema_version SET version = 1"))
    ledger = Ledger(url, clock=clock)
    assert ledger.version == max(migrations.STEPS)
    key, _ = ledger.keys.create("sensor", "score")
    assert ledger.keys.all() == [key]
    ledger.close()
    with engine.connect() as connection:
        migrated = sa.inspect(connection).get_columns("api_keys")
    engine.dispose()
    assert [(each["name"], str(each["type"])) for each in migrated] == [
        (each["name"], str(each["type"])) for each in made_new
    ]


def test_a_step_that_fails_leaves_the_ledger_as_it_was(
    url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger(url, clock=clock).close()

    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE findings ADD half TEXT"))
        connection.execute(sa.text("no statement at all"))

    newest = max(migrations.STEPS, default=migrations.FIRST_VERSION)
    monkeypatch.setattr(migrations, "STEPS", {**migrations.STEPS, newest + 1: ("half", half)})
    with pytest.raises(LedgerError):
        Ledger(url, clock=clock)
    engine = _engine(url)
    assert "half" not in {column["name"] for column in sa.inspect(engine).get_columns("findings")}
    engine.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_an_unreachable_server_is_one_line_without_the_password(clock: FakeClock, scheme: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(f"{scheme}://ana:s3cr3t@127.0.0.1:1/tocsin", clock=clock)
    assert "postgresql://ana@127.0.0.1:1/tocsin" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ana:s3cr3t@host/tocsin", "'mysql' is not supported"),
        ("//ana:s3cr3t@host/tocsin", "not a database URL"),
        ("postgresql://ana:s3cr3t@host:port/tocsin", "not a database URL"),
        ("postgresql://127.0.0.1:1/tocsin?password=s3cr3t&user=ana", "postgresql://127.0.0.1:1/tocsin"),
        ("sqlite:////proc/none/ledger.sqlite", "cannot make the folder /proc/none"),
    ],
)
def test_an_unusable_url_is_one_line_without_the_password(clock: FakeClock, url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        Ledger(url, clock=clock)
    assert "s3cr3t" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is no database at all, " * 100)
    with pytest.raises(LedgerError, match="file is not a database; the file is damaged or something else"):
        Ledger(f"sqlite:///{path}", clock=clock)


def test_a_rise_is_news_when_asked_for(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding(score=99.5)], ["here"])
    ledger.mark_delivered("here", ["f1"])
    ledger.upsert_findings([a_finding(score=99.6)], ["here"])
    assert ledger.undelivered("here") == []
    ledger.upsert_findings([a_finding(score=99.7)], ["here"], rises_are_news=True)
    assert [finding.score for finding in ledger.undelivered("here")] == [99.7]
    ledger.mark_delivered("here", ["f1"])
    ledger.upsert_findings([a_finding(score=99.7, raw=50.0)], ["here"], rises_are_news=True)
    assert ledger.undelivered("here") == []


def test_findings_by_id_gives_those_there_are(ledger: Ledger) -> None:
    ledger.upsert_findings([a_finding("f1"), a_finding("f2", suppressed_by="r1")])
    assert set(ledger.findings_by_id(["f2", "f1", "f1", "none"])) == {"f1", "f2"}
    assert ledger.findings_by_id([]) == {}


def test_api_keys_are_made_found_and_revoked(ledger: Ledger, clock: FakeClock) -> None:
    until = clock.now() + timedelta(days=1)
    key, token = ledger.keys.create("sensor", "score", until)
    clock.advance(1)
    other, other_token = ledger.keys.create("dashboard", "read")
    assert ledger.keys.all() == [key, other]
    assert (key.hash, other.hash) == (hash_of(token), hash_of(other_token))
    with pytest.raises(LedgerError, match="API key 'sensor' already"):
        ledger.keys.create("sensor", "read")
    assert ledger.keys.revoke("sensor").revoked == clock.now()
    with pytest.raises(LedgerError, match="`tocsin keys list`"):
        ledger.keys.revoke("sensor")
    ledger.keys.mark_used({other.id: clock.now()})
    assert [each.state_at(clock.now()) for each in ledger.keys.all()] == ["revoked", "active"]
    assert ledger.keys.all()[1].last_used == clock.now()
    assert key.state_at(until) == "expired"
