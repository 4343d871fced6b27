"""Packed files that are damaged give what comes before the damage."""

import gzip
import random
from pathlib import Path

from tocsin.sources.blocks import Stream


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
