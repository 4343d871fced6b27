"""The table detector: finds what was planted, names it, and does not hang on threads or batches."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tocsin.detectors.outlier import FieldSpec, Normaliser, OutlierDetector
from tocsin.detectors.outlier.rank import rank
from tocsin.errors import ModelError

ALGORITHMS = ("hbos", "iforest", "autoencoder", "hybrid")


def normal(rows=800, seed=0):
    rng = np.random.default_rng(seed)
    size = np.exp(rng.uniform(4, 8, rows))
    return pa.table(
        {
            "size": size,
            "twice": 2 * size * rng.uniform(0.9, 1.1, rows),
            "rate": rng.uniform(0, 1, rows),
            "errors": np.where(rng.random(rows) < 0.97, 0, rng.integers(1, 4, rows)),
            "service": rng.choice(["http", "dns", "ssh"], rows, p=[0.6, 0.3, 0.1]),
            "saddr": [f"10.0.{i}.9" for i in rng.integers(0, 5, rows)],
        }
    )


def planted(field, value, rows=200):
    table = normal(rows, seed=9)
    values = table.column(field).to_pylist()
    values[77] = value
    return table.set_column(table.column_names.index(field), field, pa.array(values, table.column(field).type))


@pytest.mark.parametrize("algorithm", ["hbos", "hybrid"])
@pytest.mark.parametrize(("field", "value"), [("size", 1e12), ("errors", 5000), ("service", "gopher"), ("saddr", None)])
def test_a_planted_outlier_is_first_and_its_field_is_named(algorithm, field, value):
    model = OutlierDetector(algorithm).fit([normal()])
    scored = model.score(planted(field, value))
    assert int(np.argmax(scored.raw)) == 77
    assert scored.fields[scored.reason_field[77, 0]] == field
    assert scored.reason_share[77, 0] > 0.3
    assert model.expected(field)


@pytest.mark.parametrize("algorithm", ["iforest", "autoencoder"])
def test_the_other_algorithms_see_a_row_that_is_unusual_in_several_fields(algorithm):
    table = planted("service", "gopher")
    for field, value in (("errors", 5000), ("size", 1e12), ("twice", 1.0)):
        values = table.column(field).to_pylist()
        values[77] = value
        table = table.set_column(table.column_names.index(field), field, pa.array(values, table.column(field).type))
    scored = OutlierDetector(algorithm).fit([normal()]).score(table)
    assert int(np.argsort(-scored.raw).tolist().index(77)) < 3
    named = {scored.fields[at] for at in scored.reason_field[77] if at >= 0}
    assert named & {"errors", "size", "twice", "service"}


def test_a_combination_that_was_never_seen_scores_higher_than_its_values_alone():
    table = normal(200, seed=9)
    size = np.quantile(normal().column("size").to_numpy(), [0.1, 0.9])
    crossed = table.slice(0, 2).set_column(0, "size", pa.array(size)).set_column(1, "twice", pa.array(2 * size[::-1]))
    straight = table.slice(0, 2).set_column(0, "size", pa.array(size)).set_column(1, "twice", pa.array(2 * size))
    model = OutlierDetector().fit([normal()])
    assert (model.score(crossed).raw > model.score(straight).raw + 1.5).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_change_nothing(algorithm, monkeypatch):
    model = OutlierDetector(algorithm).fit([normal()])
    monkeypatch.setattr("tocsin.detectors.outlier.spans.SPAN_ROWS", 50)
    table = normal(800, 1)
    one = _score(model, table, threads=1)
    four = _score(model, table, threads=4)
    assert (one.raw == four.raw).all()
    assert (one.reason_field == four.reason_field).all()


def _score(model, table, threads):
    model.threads = threads
    return model.score(table)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(max_examples=15)
def test_splitting_anywhere_changes_nothing(sizes):
    table = normal(300, seed=3)
    model = OutlierDetector().fit([normal()])
    whole = model.score(table).raw
    start = 0
    for size in sizes:
        part = table.slice(start, size)
        assert (model.score(part).raw == whole[start : start + size]).all()
        start += part.num_rows


def test_the_scores_of_training_rows_are_zero_in_the_mean():
    model = OutlierDetector().fit([normal()])
    assert abs(model.score(normal()).raw.mean()) < 0.05


def test_chunked_columns_nulls_and_missing_columns_are_scored():
    model = OutlierDetector().fit([normal()])
    chunked = pa.concat_tables([normal(50, 1), normal(50, 2)])
    assert (model.score(chunked).raw == model.score(chunked.combine_chunks()).raw).all()
    without = model.score(chunked.drop(["service"]))
    assert (without.raw > model.score(chunked).raw).all()


def test_learned_tables_can_be_given_and_narrowed():
    kept = Normaliser.from_tables(Normaliser().fit([normal()]).to_tables())
    fields = [FieldSpec("size", "numeric"), FieldSpec("service", "category")]
    model = OutlierDetector(fields=fields, normaliser=kept).fit([normal()])
    assert model.score(normal()).fields == ["size", "service"]
    plain = OutlierDetector(normaliser=kept).fit([normal()])
    assert (plain.score(normal(seed=4)).raw == OutlierDetector().fit([normal()]).score(normal(seed=4)).raw).all()
    with pytest.raises(ModelError, match="extract again"):
        OutlierDetector(fields=[FieldSpec("other", "numeric")], normaliser=kept)


def test_what_cannot_be_done_is_said():
    with pytest.raises(ModelError, match="hbos, iforest"):
        OutlierDetector("forest")
    with pytest.raises(ModelError, match="nothing yet"):
        OutlierDetector().score(normal())
    with pytest.raises(ModelError, match="too few"):
        OutlierDetector().fit([normal(1)])
    with pytest.raises(ModelError, match="histogram_type"):
        OutlierDetector(histogram_type="round")


class Novel:
    """Says that every second row's fingerprint is new, and knows nothing of the others."""

    def novelty(self, batch):
        return np.where(np.arange(batch.num_rows) % 2, 1.0, np.nan)


def test_the_hybrid_weighs_what_it_has():
    table = normal(6, seed=5)
    plain = OutlierDetector("hybrid").fit([normal()])
    alone = plain.score(table).raw
    model = OutlierDetector("hybrid", fingerprints=Novel()).fit([normal()])
    both = model.score(table)
    # Without an input its weight goes to the others: 0.6·v1 / 0.6, and (0.6·v1 + 0.2·1) / 0.8.
    assert np.allclose(both.raw[::2], alone[::2])
    assert np.allclose(both.raw[1::2], (0.6 * alone[1::2] + 0.2) / 0.8)
    assert "fingerprint" in {both.fields[at] for at in both.reason_field[1]}
    assert model.expected("fingerprint")


def test_the_hybrid_looks_up_addresses():
    table = normal(4, seed=5).set_column(5, "saddr", pa.array(["9.9.9.9", "8.8.8.8", "10.0.0.9", None]))
    listed = pa.table(
        {
            "ip_address": ["9.9.9.9", "8.8.8.8"],
            "abuse_confidence_score": [100, 90],
            "is_whitelisted": [False, True],
        }
    )
    alone = OutlierDetector("hybrid").fit([normal()]).score(table).raw
    found = OutlierDetector("hybrid", reputation=listed).fit([normal()]).score(table).raw
    assert np.allclose(found, [(0.6 * alone[0] + 0.2) / 0.8, 0.6 * alone[1] / 0.8, alone[2], alone[3]])
    with pytest.raises(ModelError, match="abuse_confidence_score"):
        OutlierDetector("hybrid", reputation=listed.drop(["abuse_confidence_score"])).fit([normal()]).score(table)


def test_the_ranking_puts_copies_and_constants_last():
    table = normal().append_column("copy", normal().column("rate")).append_column("same", pa.array([1.0] * 800))
    found = rank(Normaliser().fit([table]), [table], top_n=6).to_pylist()
    names = [row["field"] for row in found]
    assert [row["rank"] for row in found] == list(range(1, 9))
    assert abs(names.index("rate") - names.index("copy")) > 1
    later = max(found[names.index("rate")], found[names.index("copy")], key=lambda row: row["rank"])
    assert later["redundancy"] > 0.9
    assert later["redundant_with"] in ("rate", "copy")
    assert found[names.index("same")]["importance"] == 0
    assert [row["selected"] for row in found[:6]] == [True] * 6
    importance = [row["importance"] for row in found]
    assert importance == sorted(importance, reverse=True)


def test_unseen_attacks_of_nsl_kdd_stand_out(data):
    import pyarrow.csv as pc

    def read(name):
        options = pc.ReadOptions(autogenerate_column_names=True)
        return pc.read_csv(data / "flows" / name, read_options=options)

    train, test = read("nsl-kdd-train20.csv.gz"), read("nsl-kdd-test.csv.gz")
    wanted = [f"f{i}" for i in range(43) if i not in (1, 2, 3, 41, 42)]
    attack = np.array(test.column("f41").to_pylist()) != "normal"
    usual = np.array(train.column("f41").to_pylist()) == "normal"
    model = OutlierDetector(top_reasons=0).fit([train.filter(pa.array(usual)).select(wanted)])
    assert roc_auc_score(attack, model.score(test.select(wanted)).raw) >= 0.955
