"""Histograms over floats: counting, looking up a value's bin, and adding up what the bins of a row say.

A float32 is cut to its upper 16 bits: sign, exponent and 7 bits of mantissa. That cell number is an index, so a value's
bin is one look into a table, whatever the bins are; values are told apart to one part in 128 of their distance from the
column's offset (whole numbers up to 256 exactly). Not-a-number has cells of its own and stands for a missing value.
"""

import numpy as np

from tocsin.kernels.compiler import kernel

CELLS = 1 << 16
"""Number of cells of a column."""

BLOCK = 256
"""Rows that are worked on at a time, so that what belongs to them stays in the nearest cache."""

_SHIFT = np.uint32(16)


@kernel
def count_cells(values, offset, counts):
    """Count the cell of each value: values (n,) float, offset float64, counts (65536,) int64, added to."""
    near = np.empty(BLOCK, np.float32)
    words = near.view(np.uint32)
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        _shift(values[start : start + size], offset, near)
        for i in range(size):
            counts[words[i] >> _SHIFT] += 1


@kernel
def encode_cells(values, offset, lookup, codes):
    """Look up the code of each value: values (n,) float, lookup (65536,) uint16, codes (n,) uint16, written."""
    near = np.empty(BLOCK, np.float32)
    words = near.view(np.uint32)
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        _shift(values[start : start + size], offset, near)
        block = codes[start : start + size]
        for i in range(size):
            block[i] = lookup[words[i] >> _SHIFT]


@kernel
def project_rows(codes, worth, loadings, out):
    """Project rows on axes.

    codes: (d, n) uint16. worth: (d, k, 2) float32, of which [:, :, 1] is read. loadings: (c, d) float32.
    out: (c, n) float32, written.
    """
    d, n = codes.shape
    z = np.empty((d, BLOCK), np.float32)
    along = np.empty((loadings.shape[0], BLOCK), np.float32)
    total = np.empty(BLOCK, np.float32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        _gather(codes[:, start : start + size], worth, total, z)
        _products(loadings, z, along, size)
        for a in range(loadings.shape[0]):
            for r in range(size):
                out[a, start + r] = along[a, r]


@kernel
def score_rows(codes, worth, loadings, low, scale, axis_bits, raw):
    """Add up the bits of each row's bins, of its fields and of its axes.

    codes: (d, n) uint16. worth: (d, k, 2) float32, by code: the bits, and the place less the field's mean place.
    loadings: (c, d), low, scale: (c,) and axis_bits: (c, m) float32; the bin of an axis is the whole part of
    1 + (projection - low) · scale, held between 0 and m - 1. raw: (n,) float32, written.
    """
    d, n = codes.shape
    axes = loadings.shape[0]
    z = np.empty((d, BLOCK), np.float32)
    along = np.empty((axes, BLOCK), np.float32)
    bins = np.empty(BLOCK, np.int32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        total = raw[start : start + size]
        _gather(codes[:, start : start + size], worth, total, z)
        _products(loadings, z, along, size)
        for a in range(axes):
            _find_bins(along[a], low[a], scale[a], axis_bits.shape[1], bins, size)
            own = axis_bits[a]
            for r in range(size):
                total[r] += own[bins[r]]


@kernel
def explain_rows(codes, worth, loadings, low, scale, axis_bits, raw, field, share):
    """Do what score_rows does, and say which fields made the score.

    An axis's bits are shared out among its fields as |loading · (place - centre)|; the shares of a row are those of its
    positive parts. field: (n, k) int16, -1 where fewer speak; share: (n, k) float32; both written.
    """
    d, n = codes.shape
    axes = loadings.shape[0]
    z = np.empty((d, BLOCK), np.float32)
    pulls = np.empty((d, BLOCK), np.float32)
    parts = np.empty((d, BLOCK), np.float32)
    along = np.empty((axes, BLOCK), np.float32)
    norms = np.empty((axes, BLOCK), np.float32)
    bins = np.empty(BLOCK, np.int32)
    weights = np.abs(loadings)
    columns = np.ascontiguousarray(weights.T)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        total = raw[start : start + size]
        block = codes[:, start : start + size]
        _gather(block, worth, total, z)
        _products(loadings, z, along, size)
        for j in range(d):
            for r in range(size):
                z[j, r] = abs(z[j, r])
        _products(weights, z, norms, size)
        for a in range(axes):
            _find_bins(along[a], low[a], scale[a], axis_bits.shape[1], bins, size)
            own, rate, norm = axis_bits[a], along[a], norms[a]
            for r in range(size):
                bits = own[bins[r]]
                total[r] += bits
                rate[r] = bits / (norm[r] + np.float32(1e-12))
        _products(columns, along, pulls, size)
        for j in range(d):
            for r in range(size):
                parts[j, r] = worth[j, block[j, r], 0] + z[j, r] * pulls[j, r]
        _top(parts, size, field[start : start + size], share[start : start + size])


@kernel
def _shift(values, offset, near):
    for i in range(values.size):
        near[i] = values[i] - offset + 0.0  # + 0.0 makes one zero of the two


@kernel
def _gather(codes, worth, total, z):
    """Add up the bits of codes (d, size) in total (size,), and write the places less their means to z (d, BLOCK)."""
    total[:] = 0
    for j in range(codes.shape[0]):
        own, pair, out = codes[j], worth[j], z[j]
        for r in range(own.size):
            code = own[r]
            total[r] += pair[code, 0]
            out[r] = pair[code, 1]


@kernel
def _products(matrix, z, out, size):
    """Write matrix (m, d) times z (d, BLOCK) to out (m, BLOCK), two rows at a time, always added in one order."""
    m = matrix.shape[0]
    for a in range(0, m - 1, 2):
        _two_products(matrix[a], matrix[a + 1], z, out[a, :size], out[a + 1, :size])
    if m % 2:
        # The last row has no partner: its product is made twice.
        _two_products(matrix[m - 1], matrix[m - 1], z, out[m - 1, :size], np.empty(size, np.float32))


@kernel
def _two_products(one, two, z, out_one, out_two):
    d, size = one.size, out_one.size
    whole = d - d % 4
    out_one[:] = 0
    out_two[:] = 0
    for j in range(0, whole, 4):
        a0, a1, a2, a3 = one[j], one[j + 1], one[j + 2], one[j + 3]
        b0, b1, b2, b3 = two[j], two[j + 1], two[j + 2], two[j + 3]
        z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
        for r in range(size):
            out_one[r] += (a0 * z0[r] + a1 * z1[r]) + (a2 * z2[r] + a3 * z3[r])
            out_two[r] += (b0 * z0[r] + b1 * z1[r]) + (b2 * z2[r] + b3 * z3[r])
    for j in range(whole, d):
        a, b, row = one[j], two[j], z[j]
        for r in range(size):
            out_one[r] += a * row[r]
            out_two[r] += b * row[r]


@kernel
def _find_bins(along, low, scale, count, bins, size):
    last = np.float32(count - 1)
    for r in range(size):
        bins[r] = np.int32(min(max((along[r] - low) * scale + np.float32(1), np.float32(0)), last))


@kernel
def _top(parts, size, field, share):
    """Write the largest positive parts of each row, in order, equal ones by position, as shares of all positive ones.

    A positive float's bits order like the float. With the field's number in the lowest of them, the best are found by
    minima and maxima of integers alone, for many rows at once; parts that differ by less than those bits may swap.
    """
    d, k = parts.shape[0], field.shape[1]
    low = np.int32(1)
    while low < d:
        low *= np.int32(2)
    low -= np.int32(1)
    words = parts.view(np.int32)
    best = np.zeros((k, BLOCK), np.int32)
    key = np.empty(BLOCK, np.int32)
    positive = np.zeros(BLOCK, np.float32)
    for j in range(d):
        last = low - np.int32(j)
        for r in range(size):
            part = parts[j, r]
            positive[r] += part if part > 0 else np.float32(0)
            key[r] = ((words[j, r] & ~low) | last) if part > 0 else np.int32(0)
        for i in range(k):
            own = best[i]
            for r in range(size):
                held, new = own[r], key[r]
                own[r] = max(held, new)
                key[r] = min(held, new)
    for r in range(size):
        for i in range(k):
            word = best[i, r]
            j = low - (word & low)
            field[r, i] = j if word > 0 else -1
            share[r, i] = parts[j, r] / positive[r] if word > 0 else np.float32(0)
