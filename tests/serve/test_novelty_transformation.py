import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import InputError, SettingsError
from tocsin.serve.transformation import Transformation, check_name, transformation_of

PORTS = Transformation(("proto", "service", "resp_port // 1000"), where="proto <> 'icmp'")


def observations(transformation: Transformation, records):
    picked = transformation.apply(records)
    rows = [list(row) for row in zip(*(column.to_pylist() for column in picked.columns), strict=True)]
    return dict(zip(picked.places.tolist(), rows, strict=True)), picked.wrong


def test_expressions_make_components_and_where_leaves_out():
    records = [
        {"proto": "tcp", "service": "http", "resp_port": 8080},
        {"proto": "icmp", "resp_port": 3},
        {"proto": "udp", "service": None, "resp_port": 53},
    ]
    assert observations(PORTS, records) == ({0: ["tcp", "http", "8"], 2: ["udp", "null", "0"]}, {})


def test_a_field_inside_another_is_named_with_a_dot():
    found, _ = observations(Transformation(("id.orig_h", "tags")), [{"id": {"orig_h": "10.0.0.1"}, "tags": ["a", "b"]}])
    assert found == {0: ["10.0.0.1", "a,b"]}


def test_what_fails_is_told_with_its_expression():
    found, wrong = observations(
        Transformation(("proto", "CAST(port AS INTEGER)")),
        [{"proto": "tcp", "port": "http"}, {"proto": "tcp", "port": "80"}, ["tcp"]],
    )
    assert found == {1: ["tcp", "80"]}
    assert sorted(wrong) == [0, 2]
    told = wrong[0].to_dict()
    assert (told["status"], told["field"], told["expression"], told["in"]) == (
        *(422, "[0]"),
        *("CAST(port AS INTEGER)", "observe.1"),
    )
    assert "http" in told["detail"]
    assert told["remedy"]
    assert "not an array" in wrong[2].detail


def test_a_record_nested_too_deeply_is_refused():
    record = {}
    for _ in range(2000):
        record = {"a": record}
    _, wrong = observations(Transformation(("a",)), [record, {"a": 1}])
    assert "nested too deeply" in wrong[0].detail
    assert list(wrong) == [0]


def test_names_as_they_come():
    records = [{"A": 1, "a": 2}, {"": 1}, {"a\x00b": 1}, {'"': 1, "a": 3}, {"tocsin_row": 4, "a": 5}]
    found, wrong = observations(Transformation(("a + 1",)), records)
    assert sorted([*found, *wrong]) == [0, 1, 2, 3, 4]
    assert (found[3], found[4]) == (["4"], ["6"])


def test_a_failing_condition_is_told_too():
    _, wrong = observations(Transformation(("1",), where="CAST(port AS INTEGER) > 5"), [{"port": "x"}])
    assert wrong[0].to_dict()["in"] == "where"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"observe": ["proto", "resp_port //"]}, "observe.1: 'resp_port //'"),
        ({"observe": ["nosuch(proto)"]}, "observe.0"),
        ({"observe": ["count(*)"]}, "observe.0"),
        ({"observe": ["a"], "where": "b ="}, "where: 'b ='"),
        ({"observe": []}, "observe: 1 to 32"),
        ({"observe": "a"}, "observe: a list"),
        ({"observe": ["a"], "were": "b"}, "were: there is no such key"),
        ({"observe": ["1" * 10_001]}, "observe.0: an expression has at most"),
    ],
)
def test_what_is_no_transformation_is_refused(document, told):
    with pytest.raises(SettingsError) as error:
        transformation_of(document)
    assert str(error.value).startswith(told)


def test_it_comes_back_from_its_document():
    assert transformation_of(PORTS.to_dict()) == PORTS


def test_a_name_is_letters_digits_and_few_signs():
    assert check_name("conn.v2_x-1") == "conn.v2_x-1"
    for name in ("", ".a", "a/b", "a" * 65, "ü"):
        with pytest.raises(InputError, match="is no name"):
            check_name(name)


def test_no_records_give_nothing():
    picked = PORTS.apply([])
    assert len(picked.places) == 0
    assert [len(column) for column in picked.columns] == [0, 0, 0]
    assert observations(PORTS, [{}]) == ({}, {})
    assert observations(Transformation(("coalesce(a, 'x')",)), [{}]) == ({0: ["x"]}, {})


VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), VALUES), max_size=6))
def test_a_record_gives_what_it_gives_alone(records):
    transformation = Transformation(("a", "b", "CAST(a AS VARCHAR)"))
    together, wrong = observations(transformation, records)
    for place, record in enumerate(records):
        alone, wrong_alone = observations(transformation, [record])
        assert alone.get(0) == together.get(place)
        assert (0 in wrong_alone) == (place in wrong)
