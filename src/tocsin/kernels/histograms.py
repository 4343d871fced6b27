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

_SHIFT = np.int32(16)
_MASK = np.int32(CELLS - 1)


@kernel
def count_cells(values, offset, counts):
    """Count the cell of each value: values (n,) float, offset float64, counts (65536,) int64, added to."""
    near = np.empty(BLOCK, np.float32)
    cells = near.view(np.int32)
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        for i in range(size):
            near[i] = values[start + i] - offset + 0.0  # + 0.0 makes one zero of the two
        for i in range(size):
            counts[(cells[i] >> _SHIFT) & _MASK] += 1


@kernel
def encode_cells(values, offset, lookup, codes):
    """Look up the code of each value: values (n,) float, lookup (65536,) uint16, codes (n,) uint16, written."""
    near = np.empty(BLOCK, np.float32)
    cells = near.view(np.int32)
    for start in range(0, values.size, BLOCK):
        size = min(BLOCK, values.size - start)
        for i in range(size):
            near[i] = values[start + i] - offset + 0.0
        for i in range(size):
            codes[start + i] = lookup[(cells[i] >> _SHIFT) & _MASK]


@kernel
def project_rows(codes, place, centre, loadings, out):
    """Project rows on axes.

    codes: (d, n) uint16. place: (d, k), centre: (d,), loadings: (c, d) float32. out: (c, n) float32, written.
    """
    d, n = codes.shape
    z = np.empty((d, BLOCK), np.float32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        for j in range(d):
            for r in range(size):
                z[j, r] = place[j, codes[j, start + r]] - centre[j]
        for a in range(loadings.shape[0]):
            _along(z, loadings[a], out[a, start : start + size])


@kernel
def score_rows(codes, bits, place, centre, loadings, low, scale, axis_bits, raw):
    """Add up the bits of each row's bins, of its fields and of its axes.

    codes: (d, n) uint16. bits, place: (d, k) float32, by code. centre: (d,), loadings: (c, d), low, scale: (c,) and
    axis_bits: (c, m) float32; an axis's bin is 1 + (projection - low) · scale, 0 below and m - 1 above.
    raw: (n,) float32, written.
    """
    d, n = codes.shape
    axes = loadings.shape[0]
    z = np.empty((d, BLOCK), np.float32)
    along = np.empty(BLOCK, np.float32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        total = raw[start : start + size]
        total[:] = 0
        for j in range(d):
            for r in range(size):
                code = codes[j, start + r]
                total[r] += bits[j, code]
                z[j, r] = place[j, code] - centre[j]
        for a in range(axes):
            _along(z, loadings[a], along[:size])
            for r in range(size):
                total[r] += axis_bits[a, _axis_bin(along[r], low[a], scale[a], axis_bits.shape[1])]


@kernel
def explain_rows(codes, bits, place, centre, loadings, low, scale, axis_bits, raw, field, share):
    """Do what score_rows does, and say which fields made the score.

    An axis's bits are shared out among its fields as |loading · (place - centre)|; the shares of a row are those of its
    positive parts. field: (n, k) int16, -1 where fewer speak; share: (n, k) float32; both written.
    """
    d, n = codes.shape
    axes = loadings.shape[0]
    z = np.empty((d, BLOCK), np.float32)
    far = np.empty((d, BLOCK), np.float32)
    parts = np.empty((d, BLOCK), np.float32)
    rates = np.empty((axes, BLOCK), np.float32)
    weights = np.abs(loadings)
    columns = np.ascontiguousarray(weights.T)
    norm = np.empty(BLOCK, np.float32)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        total = raw[start : start + size]
        total[:] = 0
        for j in range(d):
            for r in range(size):
                code = codes[j, start + r]
                total[r] += bits[j, code]
                parts[j, r] = bits[j, code]
                z[j, r] = place[j, code] - centre[j]
                far[j, r] = abs(z[j, r])
        for a in range(axes):
            rate = rates[a, :size]
            _along(z, loadings[a], rate)
            _along(far, weights[a], norm[:size])
            for r in range(size):
                rate[r] = axis_bits[a, _axis_bin(rate[r], low[a], scale[a], axis_bits.shape[1])]
                total[r] += rate[r]
                rate[r] /= norm[r] + np.float32(1e-12)
        for j in range(d):
            _along(rates, columns[j], norm[:size])
            for r in range(size):
                parts[j, r] += far[j, r] * norm[r]
        _top(parts, size, field[start : start + size], share[start : start + size])


@kernel
def _along(z, loading, out):
    """Write the sum of loading[j] · z[j] to out, four rows of z at a time; the order of adding never changes."""
    d = loading.size
    out[:] = 0
    size = out.size
    whole = d - d % 4
    for j in range(0, whole, 4):
        a, b, c, e = loading[j], loading[j + 1], loading[j + 2], loading[j + 3]
        za, zb, zc, ze = z[j], z[j + 1], z[j + 2], z[j + 3]
        for r in range(size):
            out[r] += (a * za[r] + b * zb[r]) + (c * zc[r] + e * ze[r])
    for j in range(whole, d):
        a = loading[j]
        for r in range(size):
            out[r] += a * z[j, r]


@kernel
def _axis_bin(value, low, scale, bins):
    at = (value - low) * scale
    if at < 0:
        return 0
    # The largest value seen belongs to the last bin, also where rounding puts it a hundredth beyond.
    if at > np.float32(bins - 2) + np.float32(0.01):
        return bins - 1
    return min(np.int64(at), bins - 3) + 1


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
