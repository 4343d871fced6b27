import base64
import hashlib
import ipaddress
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernels.addresses import parse_addresses
from tocsin.records.community_id import community_ids, protocol_numbers

PORTED = (1, 6, 17, 58, 132)
ANSWERS = {
    1: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 9: 10, 10: 9, 17: 18, 18: 17},
    58: {128: 129, 129: 128, 133: 134, 134: 133, 135: 136, 136: 135, 130: 131, 131: 130}
    | {139: 140, 140: 139, 144: 145, 145: 144},
}
PORTS = st.integers(0, 65535) | st.integers(0, 20) | st.integers(125, 150)
FOUR, SIX = st.ip_addresses(v=4), st.ip_addresses(v=6)


def oracle(number, saddr, daddr, sport, dport, seed=0):
    """The specification's pseudo code with hashlib."""
    source, target, one_way = saddr.packed, daddr.packed, False
    if number in ANSWERS:
        one_way = sport not in ANSWERS[number]
        dport = ANSWERS[number].get(sport, dport)
    if number not in PORTED:
        sport = dport = 0
    if not (one_way or (source, sport) < (target, dport)):
        source, target, sport, dport = target, source, dport, sport
    message = struct.pack("!H", seed) + source + target + bytes([number, 0])
    if number in PORTED:
        message += struct.pack("!HH", sport, dport)
    return "1:" + base64.b64encode(hashlib.sha1(message).digest()).decode()


def one(proto, saddr, daddr, sport, dport, seed=0):
    columns = [pa.array([proto]), pa.array([saddr], pa.string()), pa.array([daddr], pa.string())]
    return community_ids(*columns, pa.array([sport], pa.int32()), pa.array([dport], pa.int32()), seed=seed)[0].as_py()


PUBLISHED = [
    ("tcp", "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("tcp", "66.35.250.204", "128.232.110.120", 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ("udp", "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
    ("icmp", "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
    ("icmp", "192.168.0.1", "192.168.0.89", 0, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
    ("sctp", "192.168.170.8", "192.168.170.56", 7, 80, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="),
    ("ipv6-icmp", "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
    ("icmp6", "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:507:0:1:260:97ff:fe07:69ea", 3, 0, None),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]} {row[1]}")
def test_published_values(row):
    found = one(*row[:5])
    assert found == oracle(
        {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132}.get(row[0], 58), *map(ipaddress.ip_address, row[1:3]), *row[3:5]
    )
    if row[5]:
        assert found == row[5]


@given(
    st.sampled_from([1, 6, 17, 47, 58, 132, 0, 255]),
    st.tuples(FOUR, FOUR) | st.tuples(SIX, SIX),
    PORTS,
    PORTS,
    st.integers(0, 65535),
)
def test_ids_are_those_of_the_slow_way(number, addresses, sport, dport, seed):
    saddr, daddr = addresses
    assert one(str(number), str(saddr), str(daddr), sport, dport, seed) == oracle(
        number, saddr, daddr, sport, dport, seed
    )


@given(FOUR, FOUR, PORTS, PORTS)
def test_both_directions_have_one_id(saddr, daddr, sport, dport):
    assert one("tcp", str(saddr), str(daddr), sport, dport) == one("TCP", str(daddr), str(saddr), dport, sport)


@pytest.mark.parametrize(
    "row",
    [
        ("tcp", "host", "1.2.3.4", 1, 2),
        ("tcp", "1.2.3.4", None, 1, 2),
        ("tcp", "1.2.3.4", "::1", 1, 2),
        ("unknown_transport", "1.2.3.4", "1.2.3.5", 1, 2),
        (None, "1.2.3.4", "1.2.3.5", 1, 2),
        ("256", "1.2.3.4", "1.2.3.5", 1, 2),
        ("tcp", "1.2.3.4", "1.2.3.5", None, 2),
        ("udp", "1.2.3.4", "1.2.3.5", 1, 65536),
    ],
)
def test_rows_without_an_id(row):
    assert one(*row) is None


def test_protocols_without_ports_need_none():
    addresses = (ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("1.2.3.5"))
    assert one("gre", "1.2.3.4", "1.2.3.5", None, None) == oracle(47, *addresses, 0, 0)


def test_rows_keep_their_places_and_forms_do_not_matter():
    proto, saddr = pa.array(["tcp", "arp", "udp"]), pa.array(["10.0.0.2", "10.0.0.2", "10.0.0.1"])
    daddr, ports = pa.array(["10.0.0.1"] * 3), pa.array([1, 2, 3], pa.uint16())
    expected = community_ids(proto, saddr, daddr, ports, ports)
    assert expected.null_count == 1
    assert expected[1].as_py() is None
    expected.validate(full=True)
    coded = [pa.chunked_array([column[:1], column[1:]]).dictionary_encode() for column in (proto, saddr, daddr)]
    assert community_ids(*coded, pa.chunked_array([ports]), ports.to_numpy()).equals(expected)
    parsed = (protocol_numbers(proto), parse_addresses(saddr), parse_addresses(daddr))
    assert community_ids(*parsed, ports.to_numpy(), ports.to_numpy().astype(np.int64)).equals(expected)
    assert len(community_ids(proto[:0], saddr[:0], daddr[:0], ports[:0], ports[:0])) == 0


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(ValueError, match="70000"):
        one("tcp", "1.2.3.4", "1.2.3.5", 1, 2, seed=70000)
