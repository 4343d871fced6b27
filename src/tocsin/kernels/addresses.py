"""Address text to numbers, and back, over Arrow's buffers.

Syntax: dotted IPv4 without leading zeros; IPv6 after RFC 4291, section 2.2 (`::`, an embedded IPv4 address at the end),
with or without a zone (RFC 4007, section 11), which is dropped. Anything else is no address.
"""

import ipaddress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.kernels.buffers import plain_text, text_array, text_buffers
from tocsin.kernels.compiler import kernel

_MAPPED = np.uint64(0xFFFF_0000_0000)  # ::ffff:0:0/96, where IPv4 lies in the space of IPv6 (RFC 4291, section 2.5.5.2)
_ONES = (1 << 64) - 1


@dataclass(frozen=True)
class Addresses:
    """Addresses as 128-bit numbers in two halves.

    hi, lo: (n,) uint64; IPv4 as IPv4-mapped IPv6. family: (n,) uint8; 4, 6, or 0 where there is none (halves 0).
    """

    hi: np.ndarray
    lo: np.ndarray
    family: np.ndarray

    def __len__(self) -> int:
        return len(self.family)

    def take(self, indices: np.ndarray) -> "Addresses":
        """Return the addresses at these positions."""
        return Addresses(self.hi[indices], self.lo[indices], self.family[indices])

    def bytes(self) -> np.ndarray:
        """Return (n, 16) uint8 in network order."""
        return np.stack([self.hi, self.lo], axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)


def parse_addresses(values: pa.Array | pa.ChunkedArray) -> Addresses:
    """Read addresses from text.

    values: (n,) string, binary (also large or view) or a dictionary of them. Raises TypeError for other types.
    """
    if isinstance(values, pa.ChunkedArray):
        parts = [parse_addresses(chunk) for chunk in values.chunks] or [_empty(0)]
        return Addresses(
            np.concatenate([part.hi for part in parts]),
            np.concatenate([part.lo for part in parts]),
            np.concatenate([part.family for part in parts]),
        )
    if pa.types.is_dictionary(values.type):
        known = parse_addresses(pa.concat_arrays([plain_text(values.dictionary), pa.nulls(1, values.type.value_type)]))
        indices = pc.fill_null(values.indices.cast(pa.int64()), len(known) - 1)
        return known.take(indices.to_numpy())
    offsets, data, valid, first = text_buffers(plain_text(values))
    found = _empty(len(values))
    _parse_rows(offsets, data, valid, first, found.hi, found.lo, found.family)
    return found


def from_ipv4(numbers: np.ndarray) -> Addresses:
    """Return IPv4 addresses given as (n,) uint32 in host order."""
    lo = numbers.astype(np.uint64) | _MAPPED
    return Addresses(np.zeros(len(lo), np.uint64), lo, np.full(len(lo), 4, np.uint8))


def prefixes(addresses: Addresses, v4_bits: int, v6_bits: int) -> Addresses:
    """Keep the first bits of each address and set the others to zero. Raises ValueError for lengths out of range."""
    if not (0 <= v4_bits <= 32 and 0 <= v6_bits <= 128):
        raise ValueError(f"prefix lengths are 0 to 32 (IPv4) and 0 to 128 (IPv6), not {v4_bits} and {v6_bits}")
    four = addresses.family == 4
    v4_lo = np.uint64((_ONES << (32 - v4_bits)) & _ONES)
    v6_hi = np.uint64((_ONES << max(0, 64 - v6_bits)) & _ONES)
    v6_lo = np.uint64((_ONES << (128 - max(64, v6_bits))) & _ONES)
    return Addresses(
        addresses.hi & np.where(four, np.uint64(_ONES), v6_hi),
        addresses.lo & np.where(four, v4_lo, v6_lo),
        addresses.family,
    )


def format_addresses(addresses: Addresses) -> pa.Array:
    """Write addresses as text, null where there is none: (n,) string. One at a time: meant for few values."""
    return pa.array([_text(*parts) for parts in zip(*_lists(addresses), strict=True)], pa.string())


def ipv4_text(numbers: np.ndarray) -> pa.Array:
    """Write IPv4 addresses given as (n,) uint32 in host order: (n,) string."""
    data = np.empty(15 * len(numbers), np.uint8)
    offsets = np.zeros(len(numbers) + 1, np.int32)
    used = _write_ipv4(np.ascontiguousarray(numbers, np.uint32), data, offsets)
    return text_array(data[:used], offsets)


def _empty(rows: int) -> Addresses:
    return Addresses(np.zeros(rows, np.uint64), np.zeros(rows, np.uint64), np.zeros(rows, np.uint8))


def _lists(addresses: Addresses) -> tuple[list[int], list[int], list[int]]:
    return addresses.hi.tolist(), addresses.lo.tolist(), addresses.family.tolist()


def _text(hi: int, lo: int, family: int) -> str | None:
    if family == 4:
        return str(ipaddress.IPv4Address(lo & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(hi << 64 | lo)) if family == 6 else None


@kernel
def _parse_rows(offsets, data, valid, first, hi, lo, family):
    for i in range(family.size):
        bit = first + i
        if valid.size and not (valid[bit >> 3] >> (bit & 7)) & 1:
            continue
        start, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        number = _parse_ipv4(data, start, end)
        if number >= 0:
            lo[i] = np.uint64(number) | _MAPPED
            family[i] = 4
        else:
            hi[i], lo[i], family[i] = _parse_ipv6(data, start, _without_zone(data, start, end))


@kernel
def _parse_ipv4(data, start, end):
    """Return a dotted address as a number, -1 where it is none."""
    if end - start < 7 or end - start > 15:
        return np.int64(-1)
    number, part, digits, dots = np.int64(0), np.int64(0), 0, 0
    for p in range(start, end):
        c = np.int64(data[p])
        if 48 <= c <= 57:
            if digits == 3 or (digits and part == 0):
                return np.int64(-1)
            part = part * 10 + (c - 48)
            digits += 1
        elif c == 46 and digits and part <= 255 and dots < 3:
            number = number << 8 | part
            part, digits = np.int64(0), 0
            dots += 1
        else:
            return np.int64(-1)
    if dots != 3 or not digits or part > 255:
        return np.int64(-1)
    return number << 8 | part


@kernel
def _without_zone(data, start, end):
    """Return where the zone's % stands, or the end; the start where the zone is empty or holds another %."""
    for p in range(start, end):
        if data[p] == 37:
            for q in range(p + 1, end):
                if data[q] == 37:
                    return start
            return start if p + 1 == end else p
    return end


@kernel
def _parse_ipv6(data, start, end):
    """Return (hi, lo, 6), or zeros where it is no address.

    Groups are shifted into (hi, lo). At `::` what stands before it is put aside, and joined at the end.
    """
    none = (np.uint64(0), np.uint64(0), np.uint8(0))
    hi, lo, groups = np.uint64(0), np.uint64(0), 0
    before_hi, before_lo, before = np.uint64(0), np.uint64(0), -1
    p = start
    if end - start < 2 or (data[p] == 58 and data[p + 1] != 58):
        return none
    while p < end:
        if data[p] == 58:
            if p + 1 < end and data[p + 1] == 58:
                if before >= 0:
                    return none
                before_hi, before_lo, before = hi, lo, groups
                hi, lo = np.uint64(0), np.uint64(0)
                p += 2
                if p == end:
                    break
            else:
                p += 1
            if p == end or data[p] == 58:
                return none
        group, width = _read_group(data, p, end)
        if width == 0:
            return none
        if p + width < end and data[p + width] == 46:
            number = _parse_ipv4(data, p, end)
            if number < 0:
                return none
            hi, lo = hi << np.uint64(32) | lo >> np.uint64(32), lo << np.uint64(32) | np.uint64(number)
            groups += 2
            break
        hi, lo = hi << np.uint64(16) | lo >> np.uint64(48), lo << np.uint64(16) | group
        groups += 1
        p += width
        if p < end and data[p] != 58:
            return none
        if groups > 8:
            return none
    if before < 0:
        return (hi, lo, np.uint8(6)) if groups == 8 else none
    if groups > 7:
        return none
    before_hi, before_lo = _shift_left(before_hi, before_lo, 16 * (8 - before))
    return before_hi | hi, before_lo | lo, np.uint8(6)


@kernel
def _read_group(data, start, end):
    """Return the value and the width of up to four hexadecimal digits."""
    value, width = np.uint64(0), 0
    while width < 4 and start + width < end:
        c = np.int64(data[start + width])
        if 48 <= c <= 57:
            digit = c - 48
        elif 97 <= (c | 32) <= 102:
            digit = (c | 32) - 87
        else:
            break
        value = value << np.uint64(4) | np.uint64(digit)
        width += 1
    return value, width


@kernel
def _shift_left(hi, lo, bits):
    if bits >= 128:
        return np.uint64(0), np.uint64(0)
    if bits >= 64:
        return lo << np.uint64(bits - 64), np.uint64(0)
    if bits == 0:
        return hi, lo
    return hi << np.uint64(bits) | lo >> np.uint64(64 - bits), lo << np.uint64(bits)


@kernel
def _write_ipv4(numbers, data, offsets):
    """Write dotted text; return how many bytes were written."""
    p = 0
    for i in range(numbers.size):
        for shift in (24, 16, 8, 0):
            part = (np.int64(numbers[i]) >> shift) & 255
            if part >= 100:
                data[p] = 48 + part // 100
                p += 1
            if part >= 10:
                data[p] = 48 + part // 10 % 10
                p += 1
            data[p] = 48 + part % 10
            p += 1
            if shift:
                data[p] = 46
                p += 1
        offsets[i + 1] = p
    return p
