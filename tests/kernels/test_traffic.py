import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.traffic import ID_WIDTH, SHAPE_TYPES, Shapes, draw_flows, shape_flows, write_flow_ids

ONES = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
KEYS = st.integers(0, ONES)


def mix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & ONES
    x = (x ^ x >> 27) * 0x94D049BB133111EB & ONES
    return x ^ x >> 31


def unit(key, row, draw):
    stream = mix((key + mix(row * GOLDEN & ONES)) & ONES)
    return (mix((stream + draw * GOLDEN) & ONES) >> 11) / 2**53


def draw(key, counts, groups, members):
    rows = int(np.sum(counts))
    out = [np.zeros(rows, kind) for kind in (np.int64, np.int32, np.int32, np.int16)]
    with np.errstate(over="ignore"):
        draw_flows(np.uint64(key), np.array(counts), np.array(groups), np.array(members, np.int32), 1000, 500, *out)
    return out


@given(KEYS, st.lists(st.integers(0, 4), min_size=2, max_size=2))
def test_flows_are_drawn_evenly_as_the_slow_way_does(key, counts):
    members = [7, 8, 9, 20, 21]
    time, source, target, profile = draw(key, counts, [[0, 3, 0, 3, 2, 0], [3, 2, 0, 0, 3, 0]], members)
    groups = [(members[:3], members[3:]), (members[3:], members[:3])]
    for row in range(sum(counts)):
        p = 0 if row < counts[0] else 1
        assert profile[row] == p
        assert time[row] == 1000 + int(unit(key, row, 11) * 500)
        for numbers, group, index in ((source, groups[p][0], 12), (target, groups[p][1], 13)):
            assert numbers[row] == group[int(unit(key, row, index) * len(group))]


@given(KEYS)
def test_every_way_to_pick_stays_within_its_group(key):
    for mode in range(5):
        _, source, target, _ = draw(key, [20], [[0, 3, min(mode, 2), 3, 2, mode]], [7, 8, 9, 20, 21])
        assert set(source.tolist()) <= {7, 8, 9}
        assert set(target.tolist()) <= {20, 21}


def test_a_heavy_tail_is_heavy():
    _, _, target, _ = draw(5, [4000], [[0, 1, 0, 0, 1000, 2]], list(range(1000)))
    counts = np.bincount(target, minlength=1000)
    assert counts[0] > 300  # log 2 / log 1001 of all
    assert counts[500:].sum() > 200


@given(KEYS, st.lists(st.integers(0, 2**60), unique=True, max_size=50))
def test_identifiers_are_words_and_never_twice_the_same(key, numbers):
    data = np.zeros(ID_WIDTH * len(numbers), np.uint8)
    with np.errstate(over="ignore"):
        write_flow_ids(np.uint64(key), np.array(numbers, np.uint64), data)
    words = [data[ID_WIDTH * i : ID_WIDTH * (i + 1)].tobytes().decode() for i in range(len(numbers))]
    assert len(set(words)) == len(words)
    assert all(word.startswith("F") and word.isalnum() for word in words)


def shape(rows, shapes, kind, *, port=-1, key=1):
    out = Shapes(*(np.zeros(rows, kind) for kind in SHAPE_TYPES))
    zeros = np.zeros(rows, np.int32)
    with np.errstate(over="ignore"):
        shape_flows(
            *(np.uint64(key), np.arange(rows), zeros.astype(np.int16), zeros, zeros + 1, np.full(rows, port, np.int32)),
            *(np.array([shapes]), np.array([kind]), 4096, out),
        )
    return out


def test_sizes_and_times_have_the_distribution_asked_for():
    found = shape(3000, [math.log(1000), 0.5, math.log(5000), 1.0, math.log(2), 0.3, 0, 1e12, 100, 200], [6, 80, 0])
    logs = np.log(found.orig_bytes)
    assert abs(logs.mean() - math.log(1000)) < 0.05
    assert abs(logs.std() - 0.5) < 0.03
    assert abs(np.log(found.resp_bytes).std() - 1.0) < 0.06
    assert 0.5 < np.corrcoef(logs, np.log(found.resp_bytes))[0, 1] < 0.7
    assert abs(np.log(found.dur_us / 1e6).mean() - math.log(2)) < 0.05
    assert (found.dport == 80).all()
    assert (found.sport >= 49152).all()
    assert abs(found.sentropy.mean() - 100) < 1
    assert not found.client.any()


def test_a_share_fails_and_a_failed_flow_carries_nothing():
    found = shape(3000, [5, 0.1, 5, 0.1, 0, 0.1, 0.3, 1e9, 100, 100], [6, 443, 1], port=8443)
    failed = np.isin(found.state, (1, 2))
    assert abs(failed.mean() - 0.3) < 0.03
    for carried in (found.orig_bytes, found.resp_bytes, found.client):
        assert not carried[failed].any()
    assert found.client[~failed].all()
    assert (found.dport == 8443).all()
    unanswered = shape(500, [5, 0.1, 5, 0.1, 0, 0.1, 1, 1e9, 100, 100], [17, 53, 0])
    assert unanswered.orig_bytes.all()
    assert not unanswered.dpkts.any()
