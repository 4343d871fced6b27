import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.index import KeyIndex

ONES = 2**64 - 1
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
KEYS = st.lists(st.one_of(st.integers(0, ONES), st.integers(0, 5), st.sampled_from([0, 1 << 63, ONES])), max_size=80)


def oracle(known, keys):
    """The same with a dictionary, which keeps order: slots, and rows of first appearances."""
    slots, first = [], []
    for row, key in enumerate(keys):
        if key not in known:
            known[key] = len(known)
            first.append(row)
        slots.append(known[key])
    return slots, first


@given(st.lists(KEYS, max_size=6), st.integers(0, 100))
def test_slots_are_those_of_a_dictionary(batches, capacity):
    known, ours = {}, KeyIndex(capacity)
    for keys in batches:
        slots, first = ours.slots(np.array(keys, np.uint64))
        assert (slots.dtype, first.dtype) == (np.int32, np.int64)
        assert (slots.tolist(), first.tolist()) == oracle(known, keys)
    assert ours.keys.tolist() == list(known)
    assert len(ours) == len(known)


@given(KEYS, KEYS)
def test_find_inserts_nothing(inserted, wanted):
    known, ours = {}, KeyIndex(1)
    oracle(known, inserted)
    ours.slots(np.array(inserted, np.uint64))
    assert ours.find(np.array(wanted, np.uint64)).tolist() == [known.get(key, -1) for key in wanted]
    assert len(ours) == len(known)


@pytest.mark.parametrize("step", [1, 1 << 16, 1 << 32, 1 << 44, 0x9E3779B97F4A7C15])
def test_regular_keys(step):
    keys = np.array([i * step & ONES for i in range(5000)], np.uint64)
    ours = KeyIndex()
    assert ours.slots(keys)[0].tolist() == oracle({}, keys.tolist())[0]
    assert ours.find(keys).tolist() == oracle({}, keys.tolist())[0]


def unmix(hashed):
    """The key of a hash: each step of the mixing, backwards."""
    hashed ^= hashed >> 32
    hashed = hashed * pow(MIX_2, -1, 1 << 64) & ONES
    hashed ^= hashed >> 29 ^ hashed >> 58
    hashed = hashed * pow(MIX_1, -1, 1 << 64) & ONES
    return hashed ^ hashed >> 32


def test_keys_of_one_place_and_one_tag():
    keys = np.array([unmix(7 << 60 | middle << 32 | 5) for middle in range(1000)], np.uint64)
    ours = KeyIndex()
    assert ours.slots(keys)[0].tolist() == list(range(1000))
    assert ours.slots(keys)[0].tolist() == list(range(1000))
    other = np.array([unmix(7 << 60 | 1000 << 32 | 5)], np.uint64)
    assert ours.find(other).tolist() == [-1]


def test_memory_a_key():
    ours = KeyIndex()
    ours.slots(np.random.default_rng(0).integers(0, ONES, 100_000, np.uint64))
    assert 12 < ours.nbytes / len(ours) < 20


def test_too_many_keys():
    with pytest.raises(OverflowError, match="1610612736 keys"):
        KeyIndex(1_700_000_000)
