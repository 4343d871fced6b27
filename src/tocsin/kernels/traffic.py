"""Generated flows: who talks to whom and when, then what each flow looks like, then their identifiers.

Every row has a random stream of its own, drawn from a key and the row's number (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014: SplitMix64), so rows do not depend on how they are cut into blocks.
"""

import math
from typing import NamedTuple

import numpy as np

from tocsin.kernels.compiler import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
ID_WIDTH = 12


@kernel
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@kernel
def _stream(key, row):
    return _mix(key + _mix(np.uint64(row) * _GOLDEN))


@kernel
def _unit(stream, draw):
    """Return the stream's number of this index in [0, 1)."""
    return float(_mix(stream + np.uint64(draw) * _GOLDEN) >> np.uint64(11)) / 9007199254740992.0


@kernel
def _pick(mode, first, size, u, v, favourite):
    """Choose one of a group.

    Modes: 0 even; 1 some much more active; 2 heavy-tailed; 3 own favourites, else heavy-tailed; 4 one's own, rarely
    others.
    """
    if mode == 0:
        return first + np.int64(u * size)
    if mode == 1:
        return first + np.int64(u * math.sqrt(u) * size)
    if mode == 3 and v < 0.35:
        # Twelve services of each host's own.
        own = _mix(np.uint64(favourite * 12 + np.int64(u * 12)) * _GOLDEN)
        return first + np.int64(own % np.uint64(size))
    if mode == 4:
        return first + (favourite if v < 0.9 else np.int64(u * size)) % size
    # Zipf with exponent 1: the rank's logarithm is even.
    return first + min(size - 1, np.int64(math.exp(u * math.log(size + 1.0)) - 1.0))


@kernel
def draw_flows(key, counts, groups, members, start_us, length_us, time, source, target, profile):
    """Draw the flows of each profile in a time slice.

    counts: (p,) flows of each profile. groups: (p, 6) int64: first, size and mode of the sources and of the targets
    among `members`. members: endpoint numbers. Written, n = sum of counts: time: (n,) int64, microseconds;
    source, target: (n,) int32; profile: (n,) int16.
    """
    row = 0
    for p in range(counts.size):
        for _ in range(counts[p]):
            stream = _stream(key, row)
            time[row] = start_us + np.int64(_unit(stream, 11) * length_us)
            one = _pick(groups[p, 2], groups[p, 0], groups[p, 1], _unit(stream, 12), 0.0, 0)
            source[row] = members[one]
            two = _pick(groups[p, 5], groups[p, 3], groups[p, 4], _unit(stream, 13), _unit(stream, 14), source[row])
            target[row] = members[two]
            profile[row] = p
            row += 1


class Shapes(NamedTuple):
    """What each flow looks like: (n,) arrays, written by `shape_flows`; states and fingerprints by number."""

    sport: np.ndarray
    dport: np.ndarray
    state: np.ndarray
    spkts: np.ndarray
    dpkts: np.ndarray
    orig_bytes: np.ndarray
    resp_bytes: np.ndarray
    sbytes: np.ndarray
    dbytes: np.ndarray
    dur_us: np.ndarray
    rtt: np.ndarray
    pcr: np.ndarray
    sentropy: np.ndarray
    dentropy: np.ndarray
    client: np.ndarray
    server: np.ndarray


SHAPE_TYPES = ("u2", "u2", "u1", "u8", "u8", "u8", "u8", "u8", "u8", "i8", "u4", "i4", "u1", "u1", "u1", "u1")
"""The type of each of them."""

SF, S0, REJ, RSTO, RSTR, S1 = range(6)
_TCP, _ICMP = 6, 1


@kernel
def shape_flows(key, order, profile, source, target, port, shapes, kinds, near, out):
    """Give each drawn flow its sizes, times, state and fingerprints.

    order: (n,) the row's number in its random stream. port: (n,) int32, -1 for the profile's own.
    shapes: (p, 10) float64: log-mean and log-deviation of the originator's and the responder's bytes and the seconds;
    share that fails; bytes a second; entropy of both sides. kinds: (p, 3) int64: protocol number, port, client software
    (0 none, 1 the host's own, else that one). near: endpoints below it are inside. out: Shapes.
    """
    for i in range(order.size):
        p = profile[i]
        shape, proto = shapes[p], kinds[p, 0]
        stream = _stream(key, order[i])
        far = target[i] if source[i] < near else source[i]
        place = _mix(np.uint64(far) * _GOLDEN)
        z1, z2 = _normals(stream, 1)
        z3, z4 = _normals(stream, 3)
        base_us = 250.0 if far < near else 6000.0 + float(place % np.uint64(90_000))
        round_trip = base_us * math.exp(0.15 * z4)
        luck = _unit(stream, 6)
        state = _outcome(proto, shape[6], _unit(stream, 5), luck)
        up = float(math.floor(math.exp(min(26.0, shape[0] + shape[1] * z1))))
        down = float(math.floor(math.exp(min(26.0, shape[2] + shape[3] * (0.6 * z1 + 0.8 * z2)))))
        seconds = math.exp(shape[4] + shape[5] * z3) + (up + down) / shape[7] + 2e-6 * round_trip
        if state in (S0, REJ):
            up = 0.0 if proto == _TCP else up
            down = 0.0
        out_pkts, in_pkts = _packets(proto, state, up, down, luck)
        if state == REJ:
            seconds = 1e-6 * round_trip
        elif state == S0:
            # A sender tries again after one, two, four … seconds.
            seconds = 2.0 ** (out_pkts - 1.0) - 1.0 if proto == _TCP else 0.0
        out.state[i] = state
        out.rtt[i] = np.uint32(round_trip) if in_pkts > 0.0 and proto == _TCP else 0
        out.dur_us[i] = np.int64(1e6 * min(seconds, 86_000.0))
        _write_sizes(out, i, up, down, out_pkts, in_pkts, 40.0 if proto == _TCP else 28.0)
        out.sentropy[i] = _entropy(up, shape[8], z2)
        out.dentropy[i] = _entropy(down, shape[9], z3)
        dport = kinds[p, 1] if port[i] < 0 else np.int64(port[i])
        out.dport[i] = dport
        out.sport[i] = 8 if proto == _ICMP else 123 if dport == 123 else 49152 + np.int64(_unit(stream, 7) * 16384.0)
        answered = kinds[p, 2] != 0 and state not in (S0, REJ)
        out.client[i] = _software(kinds[p, 2], source[i], _unit(stream, 8)) if answered else 0
        out.server[i] = 1 + np.int64(place % np.uint64(24)) if answered else 0


@kernel
def _normals(stream, draw):
    """Return two normal numbers (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - _unit(stream, draw)))
    angle = 2.0 * math.pi * _unit(stream, draw + 1)
    return radius * math.cos(angle), radius * math.sin(angle)


@kernel
def _outcome(proto, fails, u, luck):
    """Return how the flow ends; without connections there is an answer or none."""
    if u < fails:
        return S0 if proto != _TCP or luck < 0.6 else REJ
    if proto != _TCP or luck < 0.92:
        return SF
    return RSTO if luck < 0.96 else RSTR if luck < 0.985 else S1


@kernel
def _packets(proto, state, up, down, luck):
    if proto != _TCP:
        return math.ceil((up + 1.0) / 1200.0), 0.0 if state == S0 else math.ceil((down + 1.0) / 1200.0)
    if state == S0:
        return 1.0 + math.floor(luck * 5.0), 0.0
    if state == REJ:
        return 1.0, 1.0
    # Handshake and end, data in full segments, an acknowledgement for every second segment of the other side.
    out_pkts = 4.0 + math.ceil(up / 1400.0) + math.floor(down / 2800.0)
    return out_pkts, 3.0 + math.ceil(down / 1400.0) + math.floor(up / 2800.0)


@kernel
def _write_sizes(out, i, up, down, out_pkts, in_pkts, header):
    out.spkts[i], out.dpkts[i] = np.uint64(out_pkts), np.uint64(in_pkts)
    out.orig_bytes[i], out.resp_bytes[i] = np.uint64(up), np.uint64(down)
    out.sbytes[i], out.dbytes[i] = np.uint64(up + out_pkts * header), np.uint64(down + in_pkts * header)
    total = up + down
    out.pcr[i] = np.int32(math.floor(10.0 * (up - down) / total + 0.5)) if total > 0.0 else np.int32(0)


@kernel
def _software(kind, source, u):
    """Return the client program: a host has a browser, one of eight, and a second that it uses less, one of four."""
    if kind > 1:
        return kind
    own = _mix(np.uint64(source + 1) * _MIX_1)
    if u < 0.85:
        return 1 + np.int64(own % np.uint64(8))
    return 9 + np.int64(own >> np.uint64(62))


@kernel
def _entropy(size, mean, z):
    # Few bytes cannot have much entropy: at most log2 of their number, of 8 bits, on the scale to 255.
    if size < 1.0:
        return np.uint8(0)
    most = min(255.0, 32.0 * math.log2(size + 1.0))
    return np.uint8(max(0.0, min(most, mean + 4.0 * z)))


@kernel
def write_flow_ids(key, numbers, data):
    """Write twelve characters a row: a letter and the base 62 digits of 64 mixed bits, different for different numbers.

    numbers: (n,) uint64. data: (12 n,) uint8, written.
    """
    base = np.uint64(62)
    for i in range(numbers.size):
        # Mixing is one to one, so no two numbers meet.
        rest = _mix(numbers[i] ^ key)
        data[12 * i] = 70
        for k in range(11, 0, -1):
            data[12 * i + k] = _DIGITS[np.int64(rest % base)]
            rest = rest // base
