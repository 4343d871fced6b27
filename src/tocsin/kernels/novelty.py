"""Counts in trees of values: what was seen, after what, how often, and how rare that is among its siblings.

Entries are nodes of a tree; their slots come from a KeyIndex over (parent's slot, value's number), slot 0 is the root.
An entry is a row of two 8-byte words: its count (float64), then its spread (int32) and when it was last seen (uint32).
A spread says of the children of one entry how many have a count of each class: 96 bytes, held only where there is more
than one child. Row 0 of the spreads is nobody's.

A tree's shape says of each of its C columns which column is the parent (-1: the root) and whose component is judged by
it (-1: nobody's).
"""

import math

import numpy as np

from tocsin.kernels.compiler import kernel

CLASSES = 24
"""Classes of counts: 1, 2-3, 4-7, and so on by factors of two, from 2**20 on by factors of sixteen."""

_AHEAD = 64
"""Rows whose entries are fetched before they are judged."""

_FINE = 20
"""Classes that are a factor of two wide."""


def _lowest(k: int) -> float:
    """Return the least count of a class."""
    return 2.0 ** (k if k < _FINE else _FINE + 4 * (k - _FINE))


def _typical() -> np.ndarray:
    """Return the count that stands for each class, in quarters: the middle on a logarithmic scale, 1 for the first."""
    low = np.array([_lowest(k) for k in range(CLASSES + 1)])
    middle = np.sqrt(low[:-1] * (low[1:] - 1))
    quarters: np.ndarray = np.round(4 * np.maximum(middle, 1.0)).astype(np.int64)
    return quarters


_LN_2 = math.log(2.0)
_MOST_FOLDED = 2.0**30

_SCALE = np.array([1.0 / _lowest(k) for k in range(CLASSES)])
_WIDTH = np.array([1.0 if k < _FINE else 15.0 for k in range(CLASSES)])

TYPICAL = _typical()
"""(CLASSES,) int64, quarters: whole numbers add up in any order, so that the compiler may add many at once."""


@kernel
def count_class(count):
    """Return the class of a count: float64 from 0.5 on -> 0 to CLASSES - 1; anything below 2 is in the first."""
    if count < 2.0:
        return 0
    # The exponent of a double: floor(log2(count)).
    power = (np.float64(count).view(np.int64) >> 52) - 1023
    return power if power < _FINE else min(_FINE + ((power - _FINE) >> 2), CLASSES - 1)


@kernel
def tail_share(spread, typical, count, total, moved_from, moved_to):
    """Return the estimated part of an entry's children's mass that is about as rare as a child of this count, or rarer.

    About as rare is up to the next class: as far as this count is above its own class's lower end, so much of the next
    class counts, so that the part does not jump, and so that of siblings alike none is rare.
    spread: (CLASSES,) int32. total: what the entry was counted, so that no child is in a higher class. moved_from,
    moved_to: classes of a child that is judged as if it had been counted once more, -1 where that is so already or
    where it was not there before.
    """
    own = count_class(count)
    quarters = 0
    for k in range(own + 1):
        quarters += typical[k] * spread[k]
    all_quarters = quarters
    for k in range(own + 1, count_class(total) + 1):
        all_quarters += typical[k] * spread[k]
    if moved_to >= 0:
        all_quarters += typical[moved_to]
        quarters += typical[moved_to]
    if moved_from >= 0:
        all_quarters -= typical[moved_from]
        quarters -= typical[moved_from]
    return (quarters + _upper_part(count, own) * _typical_of(spread, typical, own + 1)) / all_quarters


@kernel
def tail_share_of_two(typical, count, other):
    """Return the same where there is one other child, of this count."""
    own, its = count_class(count), count_class(other)
    part = 1.0 if its <= own else _upper_part(count, own) if its == own + 1 else 0.0
    return (typical[own] + part * typical[its]) / (typical[own] + typical[its])


@kernel
def _upper_part(count, own):
    """Return how far a count is from the lower end of its class to the next: 0 to 1."""
    return min(max((count * _SCALE[own] - 1.0) / _WIDTH[own], 0.0), 1.0)


@kernel
def _typical_of(spread, typical, k):
    return typical[k] * spread[k] if k < CLASSES else 0


@kernel
def place_keys(parents, values, keys):
    """Put together the keys of children: parents (n,) int32 slots, values (n,) int32 -> keys (n,) uint64."""
    for i in range(keys.size):
        keys[i] = (np.uint64(np.uint32(parents[i])) << np.uint64(32)) | np.uint64(np.uint32(values[i]))


@kernel
def judge(slots, parent, judged, counts, meta, spreads, used, typical, now, learn, bits, share, most, sums):
    """Judge observations in order, counting each before it is judged (learn) or as if it had been, where it is unseen.

    slots: (C, n) int32, -1 for what is not known; parent, judged: (C,) int32, the shape. The first L columns are the
    chain of an observation's components. counts: (entries, 2) float64 and meta: (entries, 4) int32 over the same
    memory. spreads: (m, CLASSES) int32, of which `used` rows are taken. now: the sequence of the first row.

    Filled: bits (n, L) float64, log2(parent's count / count) along the chain. share (n, L) float64, each component's
    part of the surprise. most (n,) int32, the most surprising component, or the one of most bits. sums (n, 4) float64:
    the surprise, the sum of the components' surprises, the count of the whole observation, and of all observations.
    A component's surprise s is the greatest min(log2(P / c), 3 log2(P / T)) of the columns that judge it: c its count,
    P its parent's, T / P the tail's share.
    Returns the number of spreads used.
    """
    columns, rows = slots.shape
    length = bits.shape[1]
    touched = 0.0
    for row in range(rows):
        if row % _AHEAD == 0:
            # A loop of its own, whose loads wait for nothing, so that their cache misses overlap.
            for column in range(columns):
                for at in range(row, min(row + _AHEAD, rows)):
                    if slots[column, at] >= 0:
                        touched += counts[slots[column, at], 0]
                        touched += spreads[meta[slots[column, at], 2], 0]
        leaf = slots[length - 1, row]
        add = 1.0 if learn or leaf < 0 or counts[leaf, 0] == 0.0 else 0.0
        if learn:
            counts[0, 0] += 1.0
        sums[row, 3] = counts[0, 0] + (0.0 if learn else add)
        for column in range(length):
            share[row, column] = 0.0
        for column in range(columns):
            entry = slots[column, row]
            above = slots[parent[column], row] if parent[column] >= 0 else 0
            before = counts[entry, 0] if entry >= 0 else 0.0
            # The parent was counted already when learning.
            total = (counts[above, 0] if above >= 0 else 0.0) + (0.0 if learn else add)
            count = before + add
            held = meta[above, 2] if above >= 0 else 0
            if learn:
                counts[entry, 0] = count
                meta[entry, 3] = now + row
                was = total - 1.0
                if before == 0.0:
                    if held == 0 and was > 0.0:
                        held = used
                        used += 1
                        meta[above, 2] = held
                        spreads[held, count_class(was)] += 1
                    if held > 0:
                        spreads[held, count_class(1.0)] += 1
                elif held > 0:
                    old, new = count_class(before), count_class(count)
                    if old != new:
                        spreads[held, old] -= 1
                        spreads[held, new] += 1
            if column < length:
                bits[row, column] = -math.log(count / total) / _LN_2 if count < total else 0.0
                if column == length - 1:
                    sums[row, 2] = count
            component = judged[column]
            if component < 0 or count >= total:
                continue
            if held == 0:  # beside the only child that there was until now
                tail = tail_share_of_two(typical, count, total - count)
            elif learn or add == 0.0:
                tail = tail_share(spreads[held], typical, count, total, -1, -1)
            else:
                moved = count_class(before) if before > 0.0 else -1
                tail = tail_share(spreads[held], typical, count, total, moved, count_class(count))
            if tail < 1.0:
                # min(P / c, (P / T)^3), as odds against: 2^s - 1
                novel, rarer = total / count, 1.0 / tail
                rarer *= rarer * rarer
                if column == component and novel <= rarer:
                    share[row, component] = 1.0 - novel  # below 0: s is what `bits` says, and needs no logarithm
                else:
                    share[row, component] = max(share[row, component], min(novel, rarer) - 1.0)
        most[row] = _sum_up(bits[row], share[row], sums[row])
    return used if touched >= 0.0 else -1


@kernel
def _sum_up(bits, share, sums):
    """Turn the odds against each component into its share of their bits; return the most surprising, else most novel.

    raw = log2(1 + sum_i (2^s_i - 1)), total = sum_i s_i
    """
    greatest, odds, summed, most, most_bits = 0.0, 0.0, 0.0, 0, 0
    for column in range(share.size):
        if share[column] != 0.0:
            odds += abs(share[column])
            share[column] = bits[column] if share[column] < 0.0 else math.log2(1.0 + share[column])
            summed += share[column]
            if share[column] > greatest:
                greatest, most = share[column], column
        if bits[column] > bits[most_bits]:
            most_bits = column
    sums[0], sums[1] = math.log2(1.0 + odds) if odds > 0.0 else 0.0, summed
    if summed == 0.0:
        return most_bits
    for column in range(share.size):
        share[column] /= summed
    return most


@kernel
def add_counts(slots, weights, counts, meta, last):
    """Add weights to the entries of observations and to the root: slots (C, n) int32, weights (n,) float64."""
    for row in range(slots.shape[1]):
        counts[0, 0] = _rounded(counts[0, 0] + weights[row])
        for column in range(slots.shape[0]):
            entry = slots[column, row]
            counts[entry, 0] = _rounded(counts[entry, 0] + weights[row])
            meta[entry, 3] = last[row]


@kernel
def _rounded(count):
    """Return a count, 0 where only a rounding error is left."""
    return count if count > 1e-9 else 0.0


@kernel
def branching(keys, counts, others, children):
    """Fill how many children each entry has, 2 for more: children (entries,) uint8, zeros. Returns how many have 2.

    keys: (entries,) uint64. others: the value that stands for what was folded, which is like several children.
    """
    found = 0
    for entry in range(1, keys.size):
        if counts[entry, 0] > 0.0:
            above = np.int64(keys[entry] >> np.uint64(32))
            was = children[above]
            is_other = np.int64(keys[entry] & np.uint64(0xFFFFFFFF)) == others
            children[above] = min(was + (2 if is_other else 1), 2)
            if was < 2 and children[above] == 2:
                found += 1
    return found


@kernel
def respread(keys, counts, meta, children, spreads, others):
    """Make all spreads anew from the counts; returns how many rows are used. children: as `branching` filled it.

    Each observation of `others` counts as a child of its own that was seen once.
    """
    for entry in range(keys.size):
        meta[entry, 2] = 0
    used = 1
    for entry in range(1, keys.size):
        above = np.int64(keys[entry] >> np.uint64(32))
        if counts[entry, 0] <= 0.0 or children[above] < 2:
            continue
        if meta[above, 2] == 0:
            meta[above, 2] = used
            spreads[used, :] = 0
            used += 1
        if np.int64(keys[entry] & np.uint64(0xFFFFFFFF)) == others:
            spreads[meta[above, 2], 0] += np.int32(min(counts[entry, 0], _MOST_FOLDED))
        else:
            spreads[meta[above, 2], count_class(counts[entry, 0])] += 1
    return used


@kernel
def walk_down(keys, markers, value_hashes, depth, hashed):
    """Fill the depth of each entry in the chains, and a hash of the values on the way to it.

    markers: values from 1 to this are no values but markers. value_hashes: (size,) uint64 by value, or none.
    depth: (entries,) uint8, from 128 on for what is below a marker. hashed: (entries,) uint64.
    """
    depth[0], hashed[0] = 0, np.uint64(0)
    for entry in range(1, keys.size):
        above = np.int64(keys[entry] >> np.uint64(32))
        value = np.int64(keys[entry] & np.uint64(0xFFFFFFFF))
        depth[entry] = 128 if above == 0 and 0 < value <= markers else depth[above] + 1
        mixed = (hashed[above] + (value_hashes[value] if value_hashes.size else np.uint64(value))) * np.uint64(
            0x9E3779B97F4A7C15
        )
        hashed[entry] = mixed ^ (mixed >> np.uint64(32))


@kernel
def paths(keys, leaves, values):
    """Fill the values on the way to each leaf: leaves (m,) int32 slots, values (m, L) int32."""
    for row in range(leaves.size):
        entry = np.int64(leaves[row])
        for column in range(values.shape[1] - 1, -1, -1):
            values[row, column] = np.int32(np.uint32(keys[entry] & np.uint64(0xFFFFFFFF)))
            entry = np.int64(keys[entry] >> np.uint64(32))
