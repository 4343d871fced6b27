import ipaddress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.addresses import (
    Addresses,
    format_addresses,
    from_ipv4,
    ipv4_text,
    parse_addresses,
    prefixes,
)

HALF = st.integers(0, 2**64 - 1)
SPELLINGS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=4)).map(lambda pair: pair[0].exploded[:30] + str(pair[1])),
    st.ip_addresses(v=4).map("::ffff:{}".format),
    st.ip_addresses(v=6).map("{}%eth0".format),
    st.text("0123456789abcdefF:.%g ", max_size=20),
    st.lists(st.sampled_from(["", "0", "1", "ffff", "12345", "10.0.0.1", "1.2.3.256", "01.2.3.4"]), max_size=10).map(
        ":".join
    ),
)


def oracle(text):
    if text is None:
        return 0, 0
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0, 0
    return address.version, int(address) if address.version == 6 else 0xFFFF << 32 | int(address)


def numbers(addresses):
    return [
        (family, hi << 64 | lo)
        for hi, lo, family in zip(addresses.hi.tolist(), addresses.lo.tolist(), addresses.family.tolist(), strict=True)
    ]


@given(st.lists(st.none() | SPELLINGS, max_size=8))
def test_addresses_are_read_as_the_standard_library_reads_them(texts):
    assert numbers(parse_addresses(pa.array(texts, pa.string()))) == [oracle(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        *("::", "::1", "1::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", "1::8", "::1.2.3.4"),
        *("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "1::1.2.3.4:5", "::12345", "::1.2.3", "::g"),
        *(
            "",
            ":",
            ":::",
            "1:::2",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4::5:6:7:8",
            ":1::",
            "1::2:",
        ),
        *("fe80::1%", "fe80::1%a%b", "fe80::1%en0", "%eth0", "1.2.3.4%x", "1.2.3", "1.2.3.4.", "1.2.3.4.5", "00.1.2.3"),
        *("256.1.1.1", "١.2.3.4", "1.2.3.4 ", "0.0.0.0", "255.255.255.255"),
    ],
)
def test_corners_of_the_syntax(text):
    assert numbers(parse_addresses(pa.array([text]))) == [oracle(text)]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_text_type_slice_and_chunk(kind):
    texts = ["10.0.0.1", None, "::1", "x", "10.0.0.1"]
    array = pa.array(texts, kind) if not pa.types.is_dictionary(kind) else pa.array(texts).dictionary_encode()
    chunked = pa.chunked_array([array[1:4], array[4:], array[:0]])
    assert numbers(parse_addresses(chunked)) == [oracle(text) for text in texts[1:]]
    assert len(parse_addresses(pa.chunked_array([], kind))) == 0


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="int64"):
        parse_addresses(pa.array([1]))


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 32), st.integers(0, 128))
def test_prefixes_are_the_networks_of_the_addresses(four, six, v4_bits, v6_bits):
    found = format_addresses(
        prefixes(parse_addresses(pa.array([str(four), str(six), "-"])), v4_bits, v6_bits)
    ).to_pylist()
    network4 = ipaddress.ip_network((four, v4_bits), strict=False).network_address
    network6 = ipaddress.ip_network((six, v6_bits), strict=False).network_address
    assert found[0] == str(network4)
    assert ipaddress.ip_address(found[1]) == network6
    assert found[2] is None


def test_prefix_lengths_out_of_range_are_refused():
    with pytest.raises(ValueError, match="33"):
        prefixes(from_ipv4(np.zeros(1, np.uint32)), 33, 0)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=5))
def test_ipv4_numbers_written_and_read_are_the_same(values):
    array = np.array(values, np.uint32)
    text = ipv4_text(array)
    assert text.to_pylist() == [str(ipaddress.IPv4Address(value)) for value in values]
    assert numbers(parse_addresses(text)) == numbers(from_ipv4(array))


@given(HALF, HALF)
def test_bytes_are_in_network_order(hi, lo):
    address = Addresses(np.array([hi], np.uint64), np.array([lo], np.uint64), np.array([6], np.uint8))
    assert bytes(address.bytes()[0]) == (hi << 64 | lo).to_bytes(16, "big")
