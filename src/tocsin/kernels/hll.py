"""HyperLogLog's arithmetic: from hashes to codes and registers, from registers to estimates.

A code is what a sparse sketch keeps of a hash: 26 bits of it and the rank of the other 38, in 32 bits (the sparse form
of Heule, Nunkesser and Hall 2013, "HyperLogLog in Practice", section 5.3, without its flag).
"""

import math

import numpy as np

from tocsin.kernels.compiler import kernel
from tocsin.kernels.strings import NULL_HASH

INDEX_BITS = 26
RANK_BITS = 6
_TAIL_BITS = 64 - INDEX_BITS
_TAIL = np.uint64((1 << _TAIL_BITS) - 1)
_FRACTION_BITS = 40
_NULL = np.uint64(NULL_HASH)


@kernel
def encode(hashes: np.ndarray) -> np.ndarray:
    """Return the codes of hashes, (n,) uint64 -> (n,) uint32; 0 of NULL_HASH.

    A code is a hash's first 26 bits, then the rank (1 to 39) of the first 1 in the others; it is never 0.
    """
    codes = np.empty(hashes.size, np.uint32)
    for i in range(hashes.size):
        rank = _TAIL_BITS + 1 - _bit_length(np.int64(hashes[i] & _TAIL))
        code = (np.int64(hashes[i] >> np.uint64(_TAIL_BITS)) << RANK_BITS) | rank
        codes[i] = 0 if hashes[i] == _NULL else code
    return codes


@kernel
def register_of(code: int, precision: int) -> tuple[int, int]:
    """Return which of 2^precision registers a code belongs to, and its rank there."""
    spare = INDEX_BITS - precision
    index = code >> RANK_BITS
    tail = index & ((1 << spare) - 1)
    rank = spare + 1 - _bit_length(tail) if tail else spare + (code & ((1 << RANK_BITS) - 1))
    return index >> spare, rank


@kernel
def weight(rank: int) -> int:
    """Return 2^-rank in units of 2^-40, 0 for an empty register and for ranks past the unit.

    Whole numbers, so that their sum over registers is the same in any order.
    """
    return (1 << (_FRACTION_BITS - rank)) if 0 < rank <= _FRACTION_BITS else 0


@kernel
def linear_count(codes: int) -> float:
    """Return the estimate from so many codes: linear counting over 2^26 registers (Whang et al. 1990)."""
    size = 2.0**INDEX_BITS
    return float(np.rint(-size * math.log1p(-codes / size)))


@kernel
def improved_raw(size: int, empty: int, weights: int) -> float:
    """Return Ertl's improved raw estimate (2017, "New cardinality estimation algorithms…", algorithm 6), rounded.

    size: registers. empty: those that are 0. weights: the sum of `weight` over all.
    """
    # m² / (2 ln 2) / (m σ(C₀/m) + Σ Cₖ 2⁻ᵏ + m τ(1 - C₍q₊₁₎/m) 2⁻ᑫ). The last term is left out: with hashes of 64 bits
    # it matters only when nearly 2^60 values have been seen.
    total = size * _sigma(empty / size) + weights / 2.0**_FRACTION_BITS
    return float(np.rint(size * size / (2.0 * math.log(2.0)) / total))


@kernel
def _sigma(x):
    # σ(x) = x + Σ x^(2^k) 2^(k-1), k = 1, 2, … (Ertl 2017, equation 13)
    if x == 1.0:
        return np.inf
    power, result, before = 1.0, x, -1.0
    while result != before:
        before = result
        x *= x
        result += x * power
        power += power
    return result


@kernel
def _bit_length(x):
    # Without a branch: half of a hash's ranks would be guessed wrong.
    length = 0
    for step in (32, 16, 8, 4, 2, 1):
        more = (x >> step) != 0
        length += step * more
        x >>= step * more
    return length + x
