"""Links: frames of any size get through without anybody waiting."""

import socket

import numpy as np
import pytest

from tocsin.cluster.link import Link
from tocsin.cluster.wire import frame


def test_frames_larger_than_the_sockets_room_get_through():
    ours, theirs = (Link(end) for end in socket.socketpair())
    sent = [frame({"n": n}, {"a": np.arange(n * 1000), "b": b"x" * n}) for n in (0, 1, 2000, 3, 400)]
    for each in sent:
        ours.put(each)
    ours.write()
    assert ours.is_waiting
    got = []
    while ours.is_waiting or len(got) < len(sent):
        ours.write()
        got += theirs.read()
    assert [each.head["n"] for each in got] == [0, 1, 2000, 3, 400]
    np.testing.assert_array_equal(got[2].part("a"), np.arange(2_000_000))
    assert theirs.read() == []
    ours.close()
    with pytest.raises(EOFError):
        theirs.read()
    theirs.put(frame({}))
    with pytest.raises(OSError, match="Broken pipe"):
        theirs.write()
    theirs.close()
