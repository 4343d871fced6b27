"""Community ID v1 of rows of numbers; `tocsin.records.community_id` tells what it is and reads the text."""

import numpy as np

from tocsin.kernels.compiler import kernel
from tocsin.kernels.sha1 import sha1_block

UNKNOWN = 256
"""Stands for a protocol without a number."""

_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132
_WIDTH = 30
_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)


def _answers(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    table = np.full(256, -1, np.int16)
    for one, other in pairs:
        table[one], table[other] = other, one
    return table


# The type that answers each ICMP type, -1 where nothing answers it and the flow has one direction only.
_ANSWERS_4 = _answers(((8, 0), (13, 14), (15, 16), (10, 9), (17, 18)))
_ANSWERS_6 = _answers(((128, 129), (133, 134), (135, 136), (130, 131), (139, 140), (144, 145)))


@kernel
def write_ids(proto, shi, slo, sfam, dhi, dlo, dfam, sport, dport, seed, data, offsets):
    """Write one identifier of 30 characters a row, none where there is none.

    proto: (n,) int32, UNKNOWN or more where unknown. shi, slo, dhi, dlo: (n,) uint64, IPv4 in the low half's low bits.
    sfam, dfam: (n,) uint8, 4, 6 or 0. sport, dport: (n,) int32, -1 where missing. seed: 0 to 65535.
    data: (30 n,) uint8, written. offsets: (n + 1,) int32, written but for the first.
    """
    words, digest = np.empty(16, np.uint32), np.empty(5, np.uint32)
    at = 0
    for i in range(proto.size):
        number = proto[i]
        ported = number in (_ICMP, _TCP, _UDP, _ICMP6, _SCTP)
        known = number < UNKNOWN and sfam[i] != 0 and sfam[i] == dfam[i]
        if known and not (ported and (sport[i] < 0 or dport[i] < 0)):
            one, other, one_way = np.int64(sport[i]), np.int64(dport[i]), False
            if number == _ICMP:
                other, one_way = _icmp_ports(one, other, _ANSWERS_4)
            elif number == _ICMP6:
                other, one_way = _icmp_ports(one, other, _ANSWERS_6)
            swap = _must_swap(shi[i], slo[i], dhi[i], dlo[i], one, other, ported) and not one_way
            if swap:
                one, other = other, one
                _message(words, sfam[i], dhi[i], dlo[i], shi[i], slo[i], seed, number, ported, one, other)
            else:
                _message(words, sfam[i], shi[i], slo[i], dhi[i], dlo[i], seed, number, ported, one, other)
            sha1_block(words, digest)
            _write(digest, data, at)
            at += _WIDTH
        offsets[i + 1] = at


@kernel
def _icmp_ports(kind, code, answers):
    """Return what stands for the responder's port, and whether the flow has one direction only."""
    if kind < 256 and answers[kind] >= 0:
        return np.int64(answers[kind]), False
    return code, True


@kernel
def _must_swap(shi, slo, dhi, dlo, sport, dport, ported):
    if shi != dhi:
        return shi > dhi
    if slo != dlo:
        return slo > dlo
    return ported and sport > dport


@kernel
def _message(words, family, ahi, alo, bhi, blo, seed, number, ported, aport, bport):
    """Lay out seed, addresses, protocol, a zero and ports, padded to one block of big-endian words.

    The seed is two bytes, so everything behind it lies across the words.
    """
    words[:] = np.uint32(0)
    if family == 4:
        a, b = np.int64(alo & np.uint64(0xFFFFFFFF)), np.int64(blo & np.uint64(0xFFFFFFFF))
        words[0] = np.uint32(seed << 16 | a >> 16)
        words[1] = np.uint32((a & 0xFFFF) << 16 | b >> 16)
        carry, last = b & 0xFFFF, 2
    else:
        carry, last = np.int64(seed), 0
        for half in (ahi, alo, bhi, blo):
            for shift in (32, 0):
                part = np.int64((half >> np.uint64(shift)) & np.uint64(0xFFFFFFFF))
                words[last] = np.uint32(carry << 16 | part >> 16)
                carry = part & 0xFFFF
                last += 1
    words[last] = np.uint32(carry << 16 | number << 8)
    length = 4 * (last + 1)
    if ported:
        words[last + 1] = np.uint32(aport << 16 | bport)
        length += 4
    words[length // 4] = np.uint32(0x80000000)
    words[15] = np.uint32(length * 8)


@kernel
def _write(digest, data, at):
    """Write "1:" and the base64 of 20 bytes: six groups of 24 bits, then two bytes and a padding."""
    data[at], data[at + 1] = 49, 58
    p = at + 2
    for group in range(7):
        bits = np.int64(0)
        for k in range(3):
            byte = 3 * group + k
            if byte < 20:
                bits |= (np.int64(digest[byte >> 2]) >> (24 - 8 * (byte & 3)) & 255) << (16 - 8 * k)
        data[p] = _BASE64[bits >> 18]
        data[p + 1] = _BASE64[(bits >> 12) & 63]
        data[p + 2] = _BASE64[(bits >> 6) & 63]
        data[p + 3] = _BASE64[bits & 63]
        p += 4
    data[p - 1] = 61
