import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.strings import NULL_HASH, hash_columns, hash_integers, hash_strings

SEEDS = st.integers(0, 2**64 - 1)
ONES = 2**64 - 1
P1, P2, P3, P4, P5 = (
    11400714785074694791,
    14029467366897019727,
    1609587929392839161,
    9650029242287828579,
    2870177450012600261,
)


def rotl(x, bits):
    return (x << bits | x >> (64 - bits)) & ONES


def lane_round(acc, lane):
    return rotl((acc + lane * P2) & ONES, 31) * P1 & ONES


def oracle(data, seed=0):
    """XXH64 in whole numbers, step by step as the specification tells it."""
    if data is None:
        return NULL_HASH
    length, h = len(data), (seed + P5) & ONES
    if length >= 32:
        accs = [(seed + P1 + P2) & ONES, (seed + P2) & ONES, seed, (seed - P1) & ONES]
        while len(data) >= 32:
            accs = [lane_round(acc, lane) for acc, lane in zip(accs, struct.unpack("<4Q", data[:32]), strict=True)]
            data = data[32:]
        h = sum(rotl(acc, bits) for acc, bits in zip(accs, (1, 7, 12, 18), strict=True)) & ONES
        for acc in accs:
            h = ((h ^ lane_round(0, acc)) * P1 + P4) & ONES
    h = (h + length) & ONES
    while len(data) >= 8:
        h = (rotl(h ^ lane_round(0, struct.unpack("<Q", data[:8])[0]), 27) * P1 + P4) & ONES
        data = data[8:]
    if len(data) >= 4:
        h = (rotl(h ^ struct.unpack("<I", data[:4])[0] * P1 & ONES, 23) * P2 + P3) & ONES
        data = data[4:]
    for byte in data:
        h = rotl(h ^ byte * P5 & ONES, 11) * P1 & ONES
    h = (h ^ h >> 33) * P2 & ONES
    h = (h ^ h >> 29) * P3 & ONES
    return h ^ h >> 32


def test_published_values():
    texts = ["", "a", "abc", "Nobody inspects the spammish repetition"]
    expected = [0xEF46DB3751D8E999, 0xD24EC4F1A98C6E5B, 0x44BC2CF5AD770999, 0xFBCEA83C8A378BF1]
    assert hash_strings(pa.array(texts)).tolist() == expected
    assert [oracle(text.encode()) for text in texts] == expected


@given(st.lists(st.none() | st.binary(max_size=100), max_size=10), SEEDS)
def test_bytes_hash_as_the_specification_says(values, seed):
    assert hash_strings(pa.array(values, pa.binary()), seed).tolist() == [oracle(value, seed) for value in values]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.large_binary(), pa.string_view(), pa.binary_view()]
)
def test_the_type_of_the_text_does_not_matter(kind):
    texts = ["alpha", None, "", "beta", "gamma" * 20]
    array = pa.array(texts, pa.string()).cast(kind)
    expected = [oracle(None if text is None else text.encode()) for text in texts]
    assert hash_strings(array).tolist() == expected
    assert hash_strings(array[1:4]).tolist() == expected[1:4]
    assert hash_strings(pa.chunked_array([array[3:], array[:0], array[1:2]])).tolist() == [*expected[3:], expected[1]]


def test_dictionaries_hash_as_their_values():
    array = pa.array(["a", None, "b", "a"]).dictionary_encode()
    assert hash_strings(array[1:]).tolist() == [NULL_HASH, oracle(b"b"), oracle(b"a")]
    holed = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array([None, "b"]))
    assert hash_strings(holed).tolist() == [NULL_HASH, oracle(b"b"), NULL_HASH]


def test_nothing_hashes_to_nothing():
    assert hash_strings(pa.array([], pa.string())).tolist() == []
    assert hash_strings(pa.chunked_array([], pa.string())).tolist() == []
    assert hash_integers(pa.array([], pa.int64())).tolist() == []


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=10), SEEDS)
def test_integers_hash_as_their_bytes(values, seed):
    expected = [oracle(None if value is None else struct.pack("<q", value), seed) for value in values]
    assert hash_integers(pa.array(values, pa.int64()), seed).tolist() == expected


def test_integers_of_every_kind():
    assert hash_integers(np.array([2**64 - 1], np.uint64)).tolist() == [oracle(b"\xff" * 8)]
    for array in (np.array([-1], np.int8), pa.array([-1], pa.int16()), pa.chunked_array([pa.array([-1])])):
        assert hash_integers(array).tolist() == [oracle(b"\xff" * 8)]
    for kind in (pa.timestamp("us", tz="UTC"), pa.date32(), pa.duration("s"), pa.time32("s")):
        assert hash_integers(
            pa.array([7], pa.int64()).cast(pa.int32()).cast(kind)
            if kind in (pa.date32(), pa.time32("s"))
            else pa.array([7], pa.int64()).cast(kind)
        ).tolist() == [oracle(struct.pack("<q", 7))]
    assert hash_integers(pa.array([True, None])).tolist() == [oracle(struct.pack("<q", 1)), NULL_HASH]


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="double"):
        hash_strings(pa.array([1.5]))
    with pytest.raises(TypeError, match="double"):
        hash_integers(pa.array([1.5]))
    with pytest.raises(TypeError, match="float64"):
        hash_integers(np.array([1.5]))


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_columns_hash_as_each_with_its_own_seed(rows):
    columns = [pa.array([f"{name}{row}" for row in range(rows + 3)], pa.string()).slice(2, rows) for name in "abc"]
    hashes, texts = hash_columns(columns)

    each = [hash_strings(column, seed) for seed, column in enumerate(columns, 1)]
    np.testing.assert_array_equal(hashes, np.concatenate(each))
    assert texts.to_pylist() == [text for column in columns for text in column.to_pylist()]
