"""Frames and messages: what goes in comes out, damage is named."""

import socket
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.cluster.engine import SummaryStatus
from tocsin.cluster.plain import plain, revive
from tocsin.cluster.wire import (
    ALIGNMENT,
    PREFIX,
    FrameError,
    Reader,
    buffers,
    frame,
    from_bytes,
    pack,
    pack_output,
    to_bytes,
    unpack,
    unpack_output,
)
from tocsin.detectors.summary.condition import growing
from tocsin.detectors.summary.definition import Condition, Input, Reducer, Summary
from tocsin.detectors.summary.messages import Crossing, EpochResult, Hint, Output, Partial, Progress

names = st.text(min_size=1, max_size=8)
micros = st.integers(-(2**55), 2**55)
times = st.integers(-(2**54), 2**54).map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
numbers = st.floats(allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**64 - 1) | numbers | st.text(max_size=8) | times,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("$us.id", max_size=4), inner, max_size=3),
    max_leaves=6,
)
tables = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.text(max_size=5)), max_size=20).map(
    lambda rows: pa.table({"key": pa.array([k for k, _ in rows], pa.uint64()), "part.host": [t for _, t in rows]})
)
small = st.integers(0, 2**40)
counts = st.dictionaries(names, st.dictionaries(names, small, max_size=3), max_size=3)
partials = st.builds(Partial, names, micros, small, small, small, small, st.booleans(), tables)
progresses = st.builds(Progress, worker=small, merger=small, watermark_us=micros, finals=small, counts=counts)
hints = st.builds(
    Hint, names, micros, st.lists(st.integers(0, 2**64 - 1)).map(tuple), st.just(((0.5, 1.0), (0.0, 2.0)))
)
records = st.dictionaries(names, values, max_size=3)
levels = st.lists(numbers, max_size=3).map(tuple)
crossings = st.builds(
    Crossing, names, micros, records, records, levels, levels, times, times, small, st.lists(records, max_size=2)
)
results = st.builds(
    EpochResult, names, times, times, small, tables, small, small, small, st.lists(small, max_size=3).map(tuple)
)
outputs = st.builds(Output, st.lists(crossings, max_size=3), st.lists(results, max_size=3), st.lists(hints, max_size=2))
arrays = st.sampled_from(["<u8", "<f8", "|u1", "|b1", "<i4"]).flatmap(
    lambda kind: st.tuples(st.integers(0, 4), st.integers(0, 4)).map(
        lambda shape: np.arange(shape[0] * shape[1]).astype(kind).reshape(shape)
    )
)

SUMMARY = Summary(
    name="ssh",
    inputs=(
        Input("zeek.ssh", "auth = false", {"host": "id.orig_h"}, "1", "ts", (Reducer("n", "sum", "", {"q": 0.5}),)),
    ),
    key_parts=("host",),
    window_us=60,
    step_us=20,
    condition=Condition("n >= 3 AND n > 2", growing("n >= 3 AND n > 2", {"n": "sum"})),
    levels=(1.0, 2.0),
    severities=("low", "high"),
)


@given(st.one_of(partials, progresses, hints, crossings, results))
def test_messages_come_back(message):
    assert unpack(type(message), from_bytes(to_bytes(pack(message, n=1)))) == message


@given(outputs)
def test_outputs_come_back(output):
    assert unpack_output(from_bytes(to_bytes(pack_output(output)))) == output


@given(values)
def test_values_come_back(value):
    assert revive(object, plain(value)) == value


def test_summaries_come_back():
    assert revive(Summary, plain(SUMMARY)) == SUMMARY
    status = SummaryStatus("a", 1, 2, 3, {"records": 4})
    assert revive(SummaryStatus, plain(status)) == status


@given(st.lists(st.tuples(records, st.dictionaries(names, arrays | tables | st.binary(), max_size=3)), max_size=4))
def test_frames_come_through_a_socket_in_any_pieces(wanted):
    data = b"".join(to_bytes(frame({"plain": plain(head)}, parts)) for head, parts in wanted)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, got = Reader(), []
        step = max(1, len(data) // 7)
        for at in range(0, len(data), step):
            theirs.sendall(data[at : at + step])
            got += read_all(reader, ours)
        theirs.close()
        with pytest.raises(EOFError):
            reader.receive(ours)
    assert [revive(object, each.head["plain"]) for each in got] == [head for head, _ in wanted]
    for each, (_, parts) in zip(got, wanted, strict=True):
        assert each.parts == list(parts)
        for name, part in parts.items():
            same(each.part(name), part)


def read_all(reader, source):
    source.settimeout(0)
    got = []
    while True:
        try:
            got += reader.receive(source)
        except BlockingIOError:
            return got


def same(found, wanted):
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted if isinstance(wanted, pa.Table) else found.to_pybytes() == wanted


def test_parts_are_aligned():
    data = to_bytes(frame({"a": 1}, {"one": b"x", "two": np.arange(3)}))
    each = from_bytes(data)
    assert (len(data) - memoryview(each.body[0]).nbytes) % ALIGNMENT == 0
    assert all(entry[2] % ALIGNMENT == 0 for entry in each.head["parts"])


@given(partials, st.data())
def test_damage_is_named(partial, data):
    whole = to_bytes(pack(partial))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FrameError):
        from_bytes(whole[:cut])
    head = PREFIX.size + PREFIX.unpack(whole[: PREFIX.size])[2]
    at = data.draw(st.integers(0, head - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FrameError):
        from_bytes(bytes(flipped))


def test_a_cut_stream_is_named():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(to_bytes(frame({}, {"a": b"1234"}))[:-1])
        theirs.close()
        reader = Reader()
        assert reader.receive(ours) == []
        with pytest.raises(FrameError, match="in the middle"):
            reader.receive(ours)


def test_a_damaged_part_is_named():
    whole = bytearray(to_bytes(frame({}, {"rows": pa.table({"a": [1, 2]})})))
    begin = len(whole) - len(from_bytes(whole).body[0])
    whole[begin : begin + 16] = b"\x77" * 16
    with pytest.raises(FrameError, match="'rows' of a frame is damaged"):
        from_bytes(bytes(whole)).part("rows")
    with pytest.raises(FrameError, match="lacks its part 'other'; it has: rows"):
        from_bytes(bytes(whole)).part("other")


def test_other_messages_are_refused():
    hint = pack(Hint("a", 0, (1,), ((0.0,),)))
    with pytest.raises(FrameError, match="holds no Partial"):
        unpack(Partial, hint)
    with pytest.raises(FrameError, match="holds no output"):
        unpack_output(hint)
    with pytest.raises(TypeError, match="a set cannot pass"):
        plain({"a": {1}})
    with pytest.raises(TypeError, match="array of objects"):
        frame({}, {"a": np.array([None])})


def test_a_head_is_followed_by_its_parts_as_they_are():
    data = np.arange(1000)
    assert any(memoryview(data).cast("B") == each for each in buffers(frame({}, {"a": data})))
