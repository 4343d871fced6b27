"""Community ID v1: one identifier for one flow, whichever sensor saw it and in whichever direction.

Specification: Corelight, "Community ID Flow Hashing", version 1: SHA-1 over seed, addresses, protocol, padding and
ports, endpoints in a fixed order, base64, with "1:" before it.
"""

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kernels.addresses import Addresses, parse_addresses
from tocsin.kernels.buffers import text_array
from tocsin.kernels.community import UNKNOWN, write_ids

_NAMES = (
    "hopopt=0 icmp=1 igmp=2 ipip=4 tcp=6 egp=8 igp=9 udp=17 dccp=33 ipv6=41 rsvp=46 gre=47 esp=50 ah=51 "
    "icmp6=58 icmpv6=58 ipv6-icmp=58 eigrp=88 ospf=89 pim=103 ipcomp=108 vrrp=112 l2tp=115 sctp=132 udplite=136"
)
PROTOCOLS = {name: int(number) for name, _, number in (item.partition("=") for item in _NAMES.split())}
"""IP protocol numbers by the names that sensors write (IANA, "Assigned Internet Protocol Numbers")."""

MAX_ROWS = 70_000_000
_WIDTH = 30  # characters of one identifier

Text: TypeAlias = pa.Array | pa.ChunkedArray
Ports: TypeAlias = pa.Array | pa.ChunkedArray | np.ndarray


def community_ids(
    proto: Text | np.ndarray,
    saddr: Text | Addresses,
    daddr: Text | Addresses,
    sport: Ports,
    dport: Ports,
    *,
    seed: int = 0,
) -> pa.Array:
    """Return the Community ID of each flow: (n,) string.

    Null where an address is no address, the two are of different families, the protocol is unknown, or a port is
    missing of a protocol that has ports (for ICMP: type and code).

    proto: (n,) name or number as text, or uint8/uint16 numbers. saddr, daddr: (n,) text, or parsed.
    sport, dport: (n,) integers up to 65535. seed: 0 to 65535.
    Raises ValueError for another seed or more than MAX_ROWS rows.
    """
    source = saddr if isinstance(saddr, Addresses) else parse_addresses(saddr)
    target = daddr if isinstance(daddr, Addresses) else parse_addresses(daddr)
    rows = len(source)
    if rows > MAX_ROWS:
        raise ValueError(f"{rows} rows in one call; at most {MAX_ROWS}")
    if not 0 <= seed <= 0xFFFF:
        raise ValueError(f"seed {seed}: 0 to 65535")
    numbers = proto.astype(np.int32) if isinstance(proto, np.ndarray) else protocol_numbers(proto)
    data = np.empty(rows * _WIDTH, np.uint8)
    offsets = np.zeros(rows + 1, np.int32)
    with np.errstate(over="ignore"):  # SHA-1 adds modulo 2**32
        write_ids(numbers, *_parts(source), *_parts(target), _ports(sport), _ports(dport), seed, data, offsets)
    return text_array(data[: offsets[-1]], offsets, np.diff(offsets) > 0)


def protocol_numbers(proto: Text) -> np.ndarray:
    """Return IP protocol numbers of names or numerals in any case: (n,) int32, 256 where unknown."""
    if isinstance(proto, pa.ChunkedArray):
        proto = proto.combine_chunks()
    coded = proto if pa.types.is_dictionary(proto.type) else proto.dictionary_encode()
    table = np.array([*(_number(name) for name in coded.dictionary.to_pylist()), UNKNOWN], np.int32)
    numbers: np.ndarray = table[pc.fill_null(coded.indices.cast(pa.int64()), len(table) - 1).to_numpy()]
    return numbers


def _number(name: str | None) -> int:
    text = (name or "").strip().lower()
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < UNKNOWN:
        return int(text)
    return PROTOCOLS.get(text, UNKNOWN)


def _parts(addresses: Addresses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return addresses.hi, addresses.lo, addresses.family


def _ports(ports: Ports) -> np.ndarray:
    """Return (n,) int32, -1 where there is none or it is out of range."""
    if not isinstance(ports, np.ndarray):
        if isinstance(ports, pa.ChunkedArray):
            ports = ports.combine_chunks()
        ports = pc.fill_null(ports.cast(pa.int64()), -1).to_numpy()
    elif ports.dtype == np.uint16:
        return ports.astype(np.int32)
    return np.where((ports >= 0) & (ports <= 0xFFFF), ports, -1).astype(np.int32)
