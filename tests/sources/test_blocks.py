"""Packed files that are damaged give what comes before the damage; what keeps coming is cut into whole lines."""

import gzip
import random
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import InputError
from tocsin.sources.blocks import Stream, live_blocks, unpacker_for


def test_a_damaged_gzip_gives_the_bytes_before_the_damage(tmp_path: Path) -> None:
    rng = random.Random(0)
    plain = "".join(f"{i}\t{rng.random()}\n" for i in range(20_000)).encode()
    packed = bytearray(gzip.compress(plain))
    middle = len(packed) // 2
    packed[middle : middle + 64] = b"\xff" * 64
    path = tmp_path / "conn.log.gz"
    path.write_bytes(packed)
    stream = Stream(path)
    found = b"".join(stream.pieces())
    assert "corrupt" in stream.warning
    assert plain.startswith(found[: len(plain) // 3])
    assert len(found) > len(plain) // 3


@settings(max_examples=60)
@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    cuts=st.lists(st.integers(0, 160), max_size=8),
    ended=st.booleans(),
)
def test_live_blocks_are_whole_lines_however_they_come(lines, cuts, ended):
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    parts = [data[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(data)])]
    coming = iter([*parts, None])
    blocks = [block for block in live_blocks(Path("live"), lambda: next(coming)) if block is not None]
    assert b"".join(block.data for block in blocks) == data
    offset = 0
    for block in blocks:
        assert (block.offset, block.line) == (offset, 1 + data.count(b"\n", 0, offset))
        assert block.data.endswith(b"\n") == block.terminated
        assert block.terminated or block is blocks[-1]
        offset += len(block.data)


def test_a_live_line_that_never_ends_is_refused():
    with pytest.raises(InputError, match="line 1 is longer"):
        list(live_blocks(Path("live"), lambda: b"x" * (1 << 20)))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 3000), max_size=6), members=st.integers(1, 3))
def test_what_comes_packed_is_unpacked_however_it_is_cut(name, cuts, members):
    pack = gzip.compress if name == "gzip" else zstandard.compress
    data = [bytes(range(256)) * (4 + member) for member in range(members)]
    packed = b"".join(map(pack, data))
    unpacker = unpacker_for(packed)
    found = b""
    for begin, end in pairwise([0, *sorted(cuts), len(packed)]):
        found += b"".join(unpacker.unpack(packed[begin:end]))
    assert (found, unpacker.warning, unpacker.breaks_off) == (b"".join(data), "", "")
    half = unpacker_for(packed)
    list(half.unpack(packed[: len(packed) - 5]))
    assert "breaks off" in half.breaks_off
