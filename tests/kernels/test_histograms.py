"""The histogram kernels against slow, obvious oracles."""

import struct

import numpy as np
import pytest

from tocsin.kernels.histograms import BLOCK, CELLS, count_cells, encode_cells, explain_rows, project_rows, score_rows

VALUES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 255.0, 256.0, 257.0, 1e-30, -1e30, np.inf, -np.inf, np.nan, 3.14159] * 40)


def cell(value):
    """The upper 16 bits of a float32, by the book."""
    return struct.unpack("<I", struct.pack("<f", np.float32(value) + np.float32(0)))[0] >> 16


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_every_value_is_counted_in_the_cell_of_its_upper_bits(kind, offset):
    counts = np.zeros(CELLS, np.int64)
    count_cells(VALUES.astype(kind), offset, counts)
    expected = np.zeros(CELLS, np.int64)
    for value in VALUES.astype(kind):
        expected[cell(value - offset)] += 1
    assert (counts == expected).all()
    assert counts.sum() == len(VALUES) > BLOCK


def test_a_code_is_the_entry_of_the_values_cell():
    lookup = np.random.default_rng(0).integers(0, 500, CELLS).astype(np.uint16)
    codes = np.zeros(len(VALUES), np.uint16)
    encode_cells(VALUES, 1.0, lookup, codes)
    assert codes.tolist() == [int(lookup[cell(value - 1.0)]) for value in VALUES]


def model(seed, d=7, axes=5, k=9, n=2 * BLOCK + 3, bins=12):
    rng = np.random.default_rng(seed)
    return {
        "codes": rng.integers(0, k, (d, n)).astype(np.uint16),
        "worth": rng.normal(0, 1, (d, k, 2)).astype(np.float32),
        "loadings": rng.normal(0, 1, (axes, d)).astype(np.float32),
        "low": np.full(axes, -1.5, np.float32),
        "scale": np.full(axes, 3.3, np.float32),
        "axis_bits": rng.normal(0, 2, (axes, bins)).astype(np.float32),
    }


def oracle(m):
    """Return raw (n,) and parts (n, d), one row, field and axis after another."""
    d, n = m["codes"].shape
    parts = np.zeros((n, d))
    for r in range(n):
        bits, z = np.array([m["worth"][j, m["codes"][j, r]] for j in range(d)], np.float64).T
        parts[r] = bits
        for a, loading in enumerate(m["loadings"]):
            at = 1 + (z @ loading - m["low"][a]) * m["scale"][a]
            last = m["axis_bits"].shape[1] - 1
            position = 0 if at < 1 else last if at > last else int(at)
            pull = np.abs(loading * z)
            parts[r] += m["axis_bits"][a, position] * pull / pull.sum()
    return parts.sum(axis=1), parts


def explained(m, top):
    n = m["codes"].shape[1]
    raw, field, share = np.empty(n, np.float32), np.empty((n, top), np.int16), np.empty((n, top), np.float32)
    explain_rows(*m.values(), raw, field, share)
    return raw, field, share


@pytest.mark.parametrize("seed", range(3))
def test_scores_and_reasons_are_those_of_the_oracle(seed):
    m = model(seed)
    raw, field, share = explained(m, 3)
    expected, parts = oracle(m)
    assert np.allclose(raw, expected, atol=2e-4)
    positive = np.maximum(parts, 0)
    total = np.maximum(positive.sum(axis=1, keepdims=True), 1e-9)
    best = np.sort(positive, axis=1)[:, ::-1][:, :3] / total
    assert np.allclose(share, best, atol=1e-4)
    for r in range(len(raw)):
        shares = [positive[r, j] / total[r, 0] if j >= 0 else 0 for j in field[r]]
        assert np.allclose(shares, share[r], atol=1e-4)


def test_asking_for_reasons_does_not_change_the_score():
    m = model(5)
    plain = np.empty(m["codes"].shape[1], np.float32)
    score_rows(*m.values(), plain)
    assert (explained(m, 3)[0] == plain).all()


def test_a_row_scores_the_same_wherever_it_stands():
    m = model(6)
    whole = explained(m, 3)
    for start, end in [(0, 1), (100, 101), (BLOCK - 1, BLOCK + 1), (13, 400)]:
        part = explained({**m, "codes": np.ascontiguousarray(m["codes"][:, start:end])}, 3)
        for own, all_rows in zip(part, whole, strict=True):
            assert (own == all_rows[start:end]).all()


def test_a_row_in_which_nothing_speaks_against_it_has_no_reason():
    m = model(7)
    m["worth"][:, :, 0] = -np.abs(m["worth"][:, :, 0])
    m["axis_bits"] = -np.abs(m["axis_bits"])
    _, field, share = explained(m, 3)
    assert (field == -1).all()
    assert (share == 0).all()


@pytest.mark.parametrize(("d", "axes"), [(7, 5), (4, 2), (1, 1), (9, 0)])
def test_projections_are_matrix_products(d, axes):
    m = model(8, d=d, axes=axes)
    out = np.empty((axes, m["codes"].shape[1]), np.float32)
    project_rows(m["codes"], m["worth"], m["loadings"], out)
    z = np.stack([m["worth"][j, m["codes"][j], 1] for j in range(d)])
    assert np.allclose(out, m["loadings"] @ z, atol=1e-5)
