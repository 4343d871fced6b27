"""Novel records become findings: one an entity, field and day, told at moments that depend on the records alone."""

from tocsin.detectors.novelty.components import columns_of
from tocsin.detectors.novelty.definition import build
from tocsin.detectors.novelty.findings import DAY_US, MOST_EPISODES, MOST_RECORDS, Episodes, Novel
from tocsin.detectors.novelty.known import Known
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.detectors.novelty.usual import usual_beside
from tocsin.settings_novelty import NoveltySettings

(DEFINITION,) = build([NoveltySettings(name="d", input="event", observe=["a", "upper(b)"], entity="host")])


def novel(score=0.999, *, entity="h", component=1, time_us=DAY_US, b="x", known=(), **more):
    shares = (0.0, 1.0) if component else (1.0, 0.0)
    record = {"a": "1", "b": b, "host": entity}
    return Novel(
        entity, time_us, component, score, 10 * score, ("1", b), (0.0, 9.0), shares, lambda _: known, record, **more
    )


def test_what_is_told_has_title_reasons_and_scope():
    known = (Known(("1", "y"), 40.0, (1,)), Known(("1", "z"), 3.0, (1,)))
    (told,) = Episodes(DEFINITION).add(novel(known=known))
    assert told.title == "h: unusual upper(b): x; usually: 1, y; here: 1, x"
    assert [(each.field, each.seen, each.expected, each.share) for each in told.reasons] == [
        ("upper(b)", "x (9.0 bits)", "usually y, z (40 times)", 1.0),
        ("a", "1 (0.0 bits)", "-", 0.0),
    ]
    assert told.scope == {"a": "1", "host": "h"}
    assert (told.entity, told.about, told.kind, told.score) == ("h", "d upper(b)", "d", 99.9)
    assert told.record_count == 1


def test_it_is_told_when_it_rises_and_when_there_are_twice_as_many():
    its = Episodes(DEFINITION)
    scores = [0.999, 0.999, 0.999, 0.999, 0.9995, 0.999, 0.999, 0.999, 0.999]
    told = [bool(its.add(novel(score))) for score in scores]
    assert told == [True, True, False, True, True, False, False, True, False]
    (rest,) = its.rest()
    assert (rest.record_count, rest.score) == (9, 99.95)
    assert its.rest() == []


def test_another_entity_field_or_day_is_another_finding():
    its = Episodes(DEFINITION)
    told = (
        its.add(novel()) + its.add(novel(entity="g")) + its.add(novel(component=0)) + its.add(novel(time_us=2 * DAY_US))
    )
    assert [each.record_count for each in told] == [1, 1, 1, 1]


def test_few_records_and_findings_are_held():
    its = Episodes(DEFINITION)
    for number in range(3 * MOST_RECORDS):
        its.add(novel(b=str(number)))
    (rest,) = its.rest()
    assert len(rest.records) == MOST_RECORDS
    assert rest.records[-1]["b"] == str(3 * MOST_RECORDS - 1)
    many = Episodes(DEFINITION)
    for number in range(MOST_EPISODES + 10):
        many.add(novel(entity=str(number)))
    assert len(many.state()) == MOST_EPISODES


def test_days_that_are_over_are_let_go_with_their_last_count():
    its = Episodes(DEFINITION)
    for _ in range(3):
        its.add(novel())
    told = its.add(novel(time_us=3 * DAY_US))
    assert [each.record_count for each in told] == [3, 1]
    assert len(its.state()) == 1


def test_one_that_goes_on_from_its_state_tells_the_same():
    scores = [0.999, 0.9991, 0.999, 0.9995, 0.999, 0.999, 0.999, 0.9999]
    whole, before, after = Episodes(DEFINITION), Episodes(DEFINITION), Episodes(DEFINITION)
    wanted = [whole.add(novel(score)) for score in scores]
    found = [before.add(novel(score)) for score in scores[:3]]
    after.restore(before.state())
    assert found + [after.add(novel(score)) for score in scores[3:]] == wanted
    assert after.rest() == whole.rest()


def test_what_is_usual_agrees_with_what_comes_before():
    model = NoveltyModel()
    rows = [["tcp", "443", "ssl"]] * 50 + [["tcp", "80", "http"]] * 80 + [["udp", "443", "quic"]] * 5
    model.observe(columns_of([*rows, ["tcp", "443", "ssh"]]))
    assert usual_beside(model, ["tcp", "443", "ssh"], 2)[0].observation == ("tcp", "443", "ssl")
    assert usual_beside(model, ["icmp", "443", "ssl"], 0)[0].observation == ("tcp", "443", "ssl")
    assert usual_beside(NoveltyModel(), ["a"], 0) == []
