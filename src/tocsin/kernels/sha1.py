"""SHA-1 of one short message a row (FIPS 180-4, sections 5.1.1, 5.2.1 and 6.1.2), for identifiers, not for secrets."""

import numpy as np

from tocsin.kernels.compiler import kernel

_H0 = np.uint32(0x67452301)
_H1 = np.uint32(0xEFCDAB89)
_H2 = np.uint32(0x98BADCFE)
_H3 = np.uint32(0x10325476)
_H4 = np.uint32(0xC3D2E1F0)
_K0 = np.uint32(0x5A827999)
_K1 = np.uint32(0x6ED9EBA1)
_K2 = np.uint32(0x8F1BBCDC)
_K3 = np.uint32(0xCA62C1D6)


@kernel
def sha1_block(w, digest):
    """Digest one padded block.

    w: (16,) uint32, the block's big-endian words; overwritten. digest: (5,) uint32, written.
    """
    a, b, c, d, e = _H0, _H1, _H2, _H3, _H4
    for t in range(16):
        a, b, c, d, e = _round(a, b, c, d, e, d ^ (b & (c ^ d)), _K0, w[t])
    for t in range(16, 20):
        a, b, c, d, e = _round(a, b, c, d, e, d ^ (b & (c ^ d)), _K0, _next_word(w, t))
    for t in range(20, 40):
        a, b, c, d, e = _round(a, b, c, d, e, b ^ c ^ d, _K1, _next_word(w, t))
    for t in range(40, 60):
        a, b, c, d, e = _round(a, b, c, d, e, (b & c) | (d & (b | c)), _K2, _next_word(w, t))
    for t in range(60, 80):
        a, b, c, d, e = _round(a, b, c, d, e, b ^ c ^ d, _K3, _next_word(w, t))
    digest[0] = a + _H0
    digest[1] = b + _H1
    digest[2] = c + _H2
    digest[3] = d + _H3
    digest[4] = e + _H4


@kernel
def _round(a, b, c, d, e, f, k, word):
    # The compiler widens sums to 64 bits; here they are modulo 2**32.
    return np.uint32(_rotl(a, 5) + f + e + k + word), a, _rotl(b, 30), c, d


@kernel
def _next_word(w, t):
    # W_t = rotl(W_{t-3} ^ W_{t-8} ^ W_{t-14} ^ W_{t-16}, 1), kept in a ring of sixteen
    word = _rotl(w[(t - 3) & 15] ^ w[(t - 8) & 15] ^ w[(t - 14) & 15] ^ w[t & 15], 1)
    w[t & 15] = word
    return word


@kernel
def _rotl(x, bits):
    return np.uint32(x << np.uint32(bits)) | np.uint32(x >> np.uint32(32 - bits))
