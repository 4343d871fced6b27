"""The pipeline from a lake to findings: every stage's artefacts, once, again, and with late files."""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc
import pytest

from tocsin.app import App
from tocsin.errors import ModelError, SettingsError
from tocsin.jobs.lake import read_parquet
from tocsin.jobs.pipeline import auto
from tocsin.jobs.profile import hosts_path
from tocsin.jobs.sample import sample_days, sample_path
from tocsin.jobs.score import score_days, scored_state
from tocsin.jobs.scores import score_prefix
from tocsin.jobs.train import extract, rank_fields, rank_path, train
from tocsin.jobs.work import Work
from tocsin.lifecycle.registry import Registry
from tocsin.records.finding import Candidate
from tocsin.settings import Settings

DAY = date(2025, 1, 6)
NEXT = DAY + timedelta(days=1)


def scores(work: Work, day: date = DAY) -> list[str]:
    return [info.path for info in work.store.list(score_prefix(work.domain, day))]


def test_auto_leaves_every_artefact(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    fill(1500, NEXT)
    fill(900, proto="udp", name="udp")
    results = auto(work)
    assert [result.job for result in results] == [
        "profile",
        "sample",
        "fingerprint",
        "extract",
        "rank",
        "train",
        "score",
    ]
    paths = {info.path for info in work.store.list(f"{work.domain}/")}
    assert sample_path(work.domain, "tcp", DAY) in paths
    assert f"{work.domain}/extract/tcp/sbytes.parquet" in paths
    assert rank_path(work.domain, "udp") in paths
    assert hosts_path(work, NEXT) in paths
    registry = Registry(work.store, work.domain)
    assert registry.names() == ["tcp", "udp"]
    version = registry.production("tcp")
    assert version is not None
    assert (version.algorithm, version.dates, version.seed) == ("hbos", ["2025-01-06", "2025-01-07"], 0)
    assert version.rows > 1000
    assert [run.outcome for run in work.ledger.last_jobs(work.domain)] == ["ok"] * 7


def test_debug_tells_each_piece_of_work(
    work: Work, fill: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tocsin.jobs")
    fill(600)
    auto(work)
    told = {record.getMessage(): record for record in caplog.records if record.levelno == logging.DEBUG}
    assert {
        *(f"{doing} {DAY}" for doing in ("profiling", "profiled", "sampling", "sampled", "scoring", "scored")),
        *(f"{job} of tcp {end}" for job in ("extract", "rank", "train") for end in ("begins", "done")),
        "loaded model tcp v1",
    } <= told.keys()
    assert vars(told[f"scored {DAY}"])["rows"] == 600
    assert vars(told[f"profiled {DAY}"])["seconds"] >= 0


def test_every_flow_has_a_score_with_reasons(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    auto(work)
    table = read_parquet(work.store, scores(work)[0])
    assert table.num_rows == 1500
    wanted = {"flowid", "stime", "saddr", "daddr", "sport", "dport", "proto", "raw", "score", "severity", "model"}
    assert wanted | {f"reason_{rank}" for rank in (1, 2, 3)} <= set(table.column_names)
    top = table.sort_by([("raw", "descending")]).slice(0, 1).to_pylist()[0]
    assert top["flowid"].endswith("-odd")
    assert {top["reason_1"], top["reason_2"], top["reason_3"]} & {"sbytes", "dport", "dur", "conn_state"}
    assert top["model"] == "v1"
    assert 0 <= pc.min(table.column("score")).as_py() <= pc.max(table.column("score")).as_py() <= 100


def test_a_second_run_does_nothing(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    auto(work)
    before = [(info.path, info.version) for info in work.store.list(f"{work.domain}/score/")]
    findings = work.ledger.findings(limit=None, include_suppressed=True)
    again = auto(work)
    assert [result.counts.get("flows scored", 0) for result in again] == [0] * len(again)
    assert [(info.path, info.version) for info in work.store.list(f"{work.domain}/score/")] == before
    assert work.ledger.findings(limit=None, include_suppressed=True) == findings


def test_a_late_file_before_the_checkpoint_is_scored(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    fill(1500, NEXT)
    auto(work)
    checkpoint = scored_state(work)["last_scored"]
    fill(300, name="late", seed=3)
    assert score_days(work).days == [DAY]
    assert len(scores(work)) == 2
    assert scored_state(work)["last_scored"] == checkpoint


def test_since_scores_again(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    fill(1000, NEXT)
    auto(work)
    assert score_days(work, since=datetime(2025, 1, 7, tzinfo=UTC)).days == [NEXT]


def test_one_day_is_said(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    assert any("one day only" in note for note in auto(work)[-1].notes)


def test_empty_lake_says_what_to_do(work: Work) -> None:
    assert any("tocsin ingest" in note for note in auto(work)[0].notes)


def test_rows_behind_high_findings_stay_out_of_the_sample(work: Work, fill: Callable[..., None]) -> None:
    fill(2000)
    start = datetime(2025, 1, 6, tzinfo=UTC)
    scope = {"saddr": "10.0.0.7", "proto": "tcp"}
    work.verdict.judge(
        [
            Candidate(
                "hosts", "beacon", "10.0.0.7", start, start + timedelta(days=1), 20.0, 99.95, "beacons", scope=scope
            )
        ]
    )
    done = sample_days(work)
    sample = read_parquet(work.store, sample_path(work.domain, "tcp", DAY))
    assert done.counts["flows left out"] > 20
    assert "10.0.0.7" not in sample.column("saddr").to_pylist()


def test_a_false_positive_is_normal_and_stays_in(work: Work, fill: Callable[..., None]) -> None:
    fill(2000)
    start = datetime(2025, 1, 6, tzinfo=UTC)
    judged = work.verdict.judge(
        [
            Candidate(
                "hosts",
                "beacon",
                "10.0.0.7",
                start,
                start + timedelta(days=1),
                20.0,
                99.95,
                "beacons",
                scope={"saddr": "10.0.0.7"},
            )
        ]
    )
    work.ledger.label(judged.findings[0].id, "false_positive", who="me")
    sample_days(work)
    assert "10.0.0.7" in read_parquet(work.store, sample_path(work.domain, "tcp", DAY)).column("saddr").to_pylist()


def test_a_poor_day_makes_no_new_model(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    auto(work)
    work.settings.verdict.high = 90.0  # about every tenth flow is unusual then
    work.settings.training.max_unusual_percent = 1.0
    fill(1500, NEXT)
    sample_days(work)
    extract(work)
    rank_fields(work)
    done = train(work)
    registry = Registry(work.store, work.domain)
    served = registry.production("tcp")
    assert served is not None
    assert served.name == "v1"
    assert "poor day" in registry.versions("tcp")[0].why
    assert any("kept but not served" in note for note in done.notes)
    assert train(work, force=True).counts["models"] == 1
    assert registry.production("tcp") != served


def test_too_few_rows_replace_nothing(work: Work, fill: Callable[..., None]) -> None:
    fill(1500)
    auto(work)
    work.settings.training.min_rows = 1_000_000
    train(work)
    newest = Registry(work.store, work.domain).versions("tcp")[0]
    assert (newest.verdict, newest.number) == ("rejected", 2)
    assert "training.min_rows = 1000000" in newest.why


def test_stages_name_the_stage_before_that_is_missing(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    assert "tocsin train" in score_days(work).notes[0]
    sample_days(work)
    with pytest.raises(ModelError, match="tocsin extract"):
        rank_fields(work)
    extract(work)
    with pytest.raises(ModelError, match="tocsin rank"):
        train(work)


def test_an_unknown_field_is_named(work: Work, fill: Callable[..., None]) -> None:
    fill(500)
    sample_days(work)
    work.settings.features.fields = ["sbites"]
    with pytest.raises(SettingsError, match="'sbites' is no field of a flow"):
        extract(work)


@pytest.mark.parametrize("algorithm", ["hbos", "iforest", "autoencoder", "hybrid"])
def test_each_algorithm_goes_the_whole_way(
    settings: Settings, algorithm: str, fill: Callable[..., None], app: App
) -> None:
    app.settings.training.algorithm = algorithm
    work = app.work()
    fill(1200)
    auto(work)
    table = read_parquet(work.store, scores(work)[0]).sort_by([("raw", "descending")])
    assert any(flowid.endswith("-odd") for flowid in table.column("flowid").to_pylist()[:5])


def test_two_instances_share_the_protocols(app: App, fill: Callable[..., None]) -> None:
    fill(1000, proto="tcp", name="a")
    fill(1000, proto="udp", name="b")
    auto(app.work(["tcp"]))
    assert Registry(app.store, app.domain).names() == ["tcp"]
    auto(app.work(["udp"]))
    assert Registry(app.store, app.domain).names() == ["tcp", "udp"]
    everything = app.work()
    flows = [read_parquet(app.store, path) for path in scores(everything)]
    assert sum(table.num_rows for table in flows) == 2000


def test_parallel_protocols_change_nothing(app: App, fill: Callable[..., None]) -> None:
    fill(1000, proto="tcp", name="a")
    fill(1000, proto="udp", name="b")
    app.settings.parallel_protocols = True
    auto(app.work())
    registry = Registry(app.store, app.domain)
    parallel = {name: registry.versions(name)[0].digest for name in registry.names()}
    app.settings.parallel_protocols = False
    train(app.work(), force=True)
    assert {name: registry.versions(name)[0].digest for name in registry.names()} == parallel


def test_a_flow_from_the_future_makes_nothing_look_old(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    auto(work)
    fill(10, date(2099, 1, 1))
    results = {result.job: result for result in auto(work)}
    assert any("lies in the future" in note for note in results["sample"].notes)
    assert len(scores(work)) == 1
    assert Registry(work.store, work.domain).production("tcp") is not None
    assert train(work, force=True).counts["models"] == 1


def test_an_emptied_lake_is_no_traceback(work: Work, fill: Callable[..., None]) -> None:
    fill(1000)
    auto(work)
    for info in work.store.list(f"{work.domain}/v2/"):
        work.store.delete(info.path)
    assert score_days(work).days == []
    assert len(scores(work)) == 1


def test_a_rare_protocol_warms_up_alone(work: Work, fill: Callable[..., None]) -> None:
    work.settings.verdict.warm_up_rows = 300
    fill(1500)
    fill(100, proto="icmp", name="icmp")
    notes = auto(work)[-1].notes
    assert [note for note in notes if "raises no findings yet" in note] == [
        "icmp: learned from 46 rows, verdict.warm_up_rows is 300: it raises no findings yet"
    ]


def test_scores_expire_with_what_lies_beside_them(work: Work, fill: Callable[..., None]) -> None:
    work.settings.scoring.retention_days = 2
    for day in (DAY - timedelta(days=1), DAY):
        fill(300, day)
    auto(work)
    fill(300, NEXT)
    auto(work)
    paths = [info.path for info in work.store.list(f"{work.domain}/") if "/claims/" not in info.path]
    kept = {path for path in paths if "2025-01-05" in path}
    assert kept == {sample_path(work.domain, "tcp", date(2025, 1, 5))}
    assert scores(work, date(2025, 1, 5)) == []
