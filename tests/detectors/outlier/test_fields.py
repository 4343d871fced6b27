"""Fields: which are chosen, what is learned of each, and that it can be kept."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.detectors.outlier.category import Buckets, CategoryCounts
from tocsin.detectors.outlier.features import FieldSpec, Normaliser, flow_fields, infer_fields
from tocsin.detectors.outlier.numeric import NumericCounts, find_offset
from tocsin.detectors.outlier.rowsample import RowSample
from tocsin.errors import ModelError
from tocsin.records.flow import FLOW


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


def numeric(values, num_bins=10, histogram_type="quantile"):
    counts = NumericCounts(0.0)
    counts.add(column(values, pa.float64()))
    return counts.learn(num_bins, histogram_type)


def codes(table, values, kind=None):
    out = np.zeros(len(values), np.uint16)
    with np.errstate(over="ignore"):
        table.encode(table.read(column(values, kind)), out)
    return out


def test_flow_fields_are_columns_of_flows_and_no_labels():
    names = {spec.name for spec in flow_fields()}
    assert names <= set(FLOW)
    assert not names & {"flowid", "community_id", "label", "label_detail"}


def test_fields_are_chosen_by_type_and_name_with_reasons_for_the_rest():
    n = 100
    table = pa.table(
        {
            "uid": [f"u{i}" for i in range(n)],
            "row": range(n),
            "size": [float(i % 7) for i in range(n)],
            "kind": ["a", "b"] * (n // 2),
            "token": [f"t{i}" for i in range(n)],
            "label": ["x"] * n,
            "empty": pa.nulls(n, pa.float64()),
            "nothing": pa.nulls(n),
            "dport": [443] * n,
            "saddr": ["10.0.0.1"] * n,
            "when": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)] * n, pa.timestamp("s", "UTC")),
            "tags": [["a"]] * n,
        }
    )
    fields, left_out = infer_fields(table, exclude=["size"])
    assert {spec.name: spec.kind for spec in fields} == {
        "kind": "category",
        "dport": "port",
        "saddr": "address",
        "when": "time_of_day",
    }
    assert set(left_out) == {"uid", "row", "size", "token", "label", "empty", "nothing", "tags"}
    assert {spec.name for spec in infer_fields(table.schema)[0]} >= {"row", "size", "token"}


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ModelError, match="numeric, category"):
        FieldSpec("x", "colour")


def test_rare_values_gaps_and_far_values_are_worth_more_bits():
    table = numeric([0.0] * 900 + list(np.linspace(100, 200, 100)))
    zero, usual, gap, beyond, far, null = table.bits[codes(table, [0.0, 150.0, 20.0, 250.0, 1e9, None], pa.float64())]
    assert zero < usual < gap
    assert usual < beyond < far
    assert null > usual
    assert abs((table.bits * table.rows).sum()) < 1e-2


def test_infinite_values_and_values_beyond_float32_have_codes():
    table = numeric([1.0, 2.0, 3.0, np.inf, -np.inf])
    found = codes(table, [np.inf, -np.inf, 1e300, np.nan])
    assert found[0] == found[2]
    assert found[3] == 0
    assert np.isfinite(table.bits).all()


@pytest.mark.parametrize("values", [[5.0] * 10, [None] * 5, [np.inf] * 3, [0.0, -0.0], [-1e38, 1e38]])
@pytest.mark.parametrize("histogram_type", ["quantile", "equal_width"])
@pytest.mark.parametrize("num_bins", [2, 10, 1024])
def test_odd_columns_are_learned(values, histogram_type, num_bins):
    table = numeric(values, num_bins, histogram_type)
    assert table.rows.sum() == len(values)
    assert np.isfinite(table.bits).all()
    assert ((table.place >= 0) & (table.place <= 1)).all()
    assert table.expected()


@given(st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=60))
def test_the_rows_of_the_codes_are_the_counts_of_the_values(values):
    table = numeric(values)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.bincount(codes(table, values, pa.float64()), minlength=len(table.rows))
    assert found.tolist() == table.rows.tolist()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_codes_and_places_rise_with_the_value(values):
    table = numeric(values)
    found = codes(table, sorted(values)).astype(int)
    assert (np.diff(found) >= 0).all()
    assert (np.diff(table.place[found]) >= 0).all()


def test_large_numbers_with_small_differences_are_told_apart():
    seconds = 1.7e9 + np.arange(0, 1000.0)
    assert find_offset(seconds) != 0
    assert find_offset(np.arange(1000.0)) == 0
    model = Normaliser([FieldSpec("t", "numeric")]).fit([pa.table({"t": seconds})])
    assert len(set(model.places(pa.table({"t": seconds})).ravel())) > 20


def test_an_unseen_category_says_much_among_few_values_and_nothing_among_many():
    few = CategoryCounts(Buckets("category", 65536))
    few.add(column(["a"] * 500 + ["b"] * 500))
    many = CategoryCounts(Buckets("category", 65536))
    many.add(column([f"v{i}" for i in range(1000)]))
    few_table, many_table = few.learn(None), many.learn(None)
    assert few_table.bits[codes(few_table, ["new"])][0] > 8
    assert many_table.bits[codes(many_table, ["new"])][0] < 0.1


def test_addresses_are_compared_by_network():
    counts = CategoryCounts(Buckets("address", 65536, 24, 48))
    seen = column(["10.1.2.3"] * 9 + ["2001:db8:1::5"] * 9 + [None, "no address"])
    counts.add(seen)
    table = counts.learn(seen)
    known, near, other, six, none = codes(table, ["10.1.2.3", "10.1.2.99", "10.1.3.3", "2001:db8:1:ff::1", None])
    assert known == near == six
    assert other == 1
    assert none == 0
    assert set(table.tops) == {"10.1.2.0/24", "2001:db8:1::/48"}
    assert "10.1.2.0/24" in table.expected()


def test_ports_and_hours_are_exact():
    ports = CategoryCounts(Buckets("port", 16))
    ports.add(column([443] * 9 + [80], pa.uint16()))
    table = ports.learn(column([443, 80], pa.uint16()))
    assert table.expected() == "443, 80 in 100 % of rows"
    assert codes(table, [8080], pa.uint16())[0] == 1
    hours = CategoryCounts(Buckets("time_of_day", 16))
    hours.add(column([datetime.datetime(2024, 1, 1, 23, 30, tzinfo=datetime.UTC)], pa.timestamp("us", "UTC")))
    assert hours.counts[23] == 1
    hours.add(column([3600.0 * 24 + 7200]))
    assert hours.counts[2] == 1


def mixed(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "bytes": rng.lognormal(5, 2, rows),
            "service": rng.choice(["http", "dns", None], rows),
            "dport": pa.array(rng.choice([53, 80], rows), pa.int32()),
            "saddr": [f"10.0.{i}.1" for i in rng.integers(0, 9, rows)],
        }
    )


@pytest.mark.parametrize("histogram_type", ["quantile", "equal_width"])
def test_tables_keep_everything(histogram_type):
    model = Normaliser(histogram_type=histogram_type).fit([mixed()])
    kept = Normaliser.from_tables(dict(reversed(model.to_tables().items())))
    other = mixed(seed=1)
    assert kept.fields == model.fields
    assert (kept.places(other) == model.places(other)).all()
    assert (kept.lookup("bits") == model.lookup("bits")).all()
    assert [kept.expected(name) for name in kept.names] == [model.expected(name) for name in model.names]


def test_a_table_without_frequencies_would_be_noticed():
    model = Normaliser().fit([mixed()])
    tables = model.to_tables()
    emptied = tables["bytes"].set_column(4, "bits", pa.array(np.zeros(tables["bytes"].num_rows, np.float32)))
    broken = Normaliser.from_tables({**tables, "bytes": emptied})
    assert (broken.lookup("bits") != model.lookup("bits")).any()
    with pytest.raises(ModelError, match="no normalisation table"):
        Normaliser.from_tables({"bytes": pa.table({"a": [1]})})


def test_columns_of_another_type_are_cast():
    model = Normaliser([FieldSpec("bytes", "numeric"), FieldSpec("service", "category")]).fit([mixed()])
    table = mixed(seed=1)
    text = pa.table(
        {
            "bytes": table.column("bytes").cast(pa.string()),
            "service": table.column("service").dictionary_encode(),
        }
    )
    assert (model.places(text) == model.places(table)).all()
    broken = pa.table({"bytes": ["12", "x", " 12 ", "-"]})
    places = model.places(broken)[:, 0]
    assert places[0] == places[2]
    assert places[1] == places[3]


def test_a_batch_without_any_field_is_refused_and_a_missing_column_is_null():
    model = Normaliser().fit([mixed()])
    with pytest.raises(ModelError, match="none of the model's fields"):
        model.read(pa.table({"z": [1]}))
    missing = model.encode(model.read(mixed().drop(["service"])), 0, 300)
    assert (missing[model.names.index("service")] == 0).all()


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ModelError, match="no rows"):
        Normaliser().fit([])
    with pytest.raises(ModelError, match="no column"):
        Normaliser().fit([pa.table({"label": ["a", "b"]})])
    with pytest.raises(ModelError, match="none of the fields"):
        Normaliser([FieldSpec("x", "numeric")]).fit([mixed()])


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(1, 30))
def test_a_sample_does_not_depend_on_batches(sizes, limit):
    rows = pa.table({"n": range(sum(sizes))})
    whole, parts = RowSample(limit), RowSample(limit)
    whole.add(rows)
    start = 0
    for size in sizes:
        parts.add(rows.slice(start, size))
        start += size
    if rows.num_rows:
        assert whole.table().equals(parts.table())
        assert whole.table().num_rows == min(limit, rows.num_rows)


def test_a_sample_is_even():
    sample = RowSample(1000)
    for start in range(0, 100_000, 10_000):
        sample.add(pa.table({"n": range(start, start + 10_000)}))
    drawn = sample.table().column("n").to_numpy()
    assert len(set(drawn)) == 1000
    assert np.abs(np.histogram(drawn, 10, (0, 100_000))[0] - 100).max() < 40
