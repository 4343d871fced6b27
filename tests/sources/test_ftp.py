"""FTP control channels in captures: packets written here byte by byte, and a real brute-force attack."""

import ipaddress
import random
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.sources.ftp import SCHEMA, FtpReader, ftp_table
from tocsin.sources.kinds import Kinds
from tocsin.sources.packets import ACK, FIN, RST, SYN, Ordered, tcp_segments
from tocsin.sources.pcap import PcapSource

CLIENT, SERVER = ("10.0.0.9", 40_000), ("10.0.0.1", 21)


def packet(source, target, seq, payload=b"", flags=ACK):
    """An IP packet with a TCP segment."""
    (saddr, sport), (daddr, dport) = source, target
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq % 2**32, 1, 5 << 4, flags, 1024, 0, 0) + payload
    ends = ipaddress.ip_address(saddr).packed + ipaddress.ip_address(daddr).packed
    if len(ends) == 8:
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends + tcp
    return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp


def ethernet(ip, vlans=0):
    kind = b"\x08\x00" if ip[0] >> 4 == 4 else b"\x86\xdd"
    return b"\xaa" * 12 + b"\x81\x00\x00\x07" * vlans + kind + ip


def capture(path, frames, *, order="<", link=1, nano=False):
    """Write a capture, a frame a second."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, link)
    for number, frame in enumerate(frames):
        data += struct.pack(order + "IIII", 1000 + number, 5 * (1000 if nano else 1), len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def option(order, code, value):
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def block(order, kind, body):
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def next_generation(path, frames, *, order="<", resolution=b"", ticks=10**6):
    """Write a pcapng capture with a name, a resolution and a block of another kind, a frame a second."""
    data = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = option(order, 2, b"eth0") + (option(order, 9, resolution) if resolution else b"") + option(order, 0, b"")
    data += block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options) + block(order, 5, b"\0" * 12)
    for number, frame in enumerate(frames):
        time = (1000 + number) * ticks + 5 * ticks // 10**6
        ends = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
        data += block(order, 6, ends + frame)
    path.write_bytes(data)
    return path


class Talk:
    """A connection whose both sides say lines by turns."""

    def __init__(self, client=CLIENT, server=SERVER, seq=7000):
        self.ends, self.seq = {"C": (client, server), "S": (server, client)}, {"C": seq, "S": seq + 500}
        self.packets = []

    def open(self):
        self.packets.append(packet(*self.ends["C"], self.seq["C"], flags=SYN))
        self.packets.append(packet(*self.ends["S"], self.seq["S"], flags=SYN | ACK))
        self.seq = {side: seq + 1 for side, seq in self.seq.items()}
        return self

    def say(self, side, text, *, size=None):
        data = text.encode() if isinstance(text, str) else text
        for start in range(0, len(data), size or len(data)):
            piece = data[start : start + (size or len(data))]
            self.packets.append(packet(*self.ends[side], self.seq[side], piece))
            self.seq[side] += len(piece)
        return self


def login(talk=None, *, size=None):
    talk = (talk or Talk()).open()
    said = [("S", "220 ready\r\n"), ("C", "USER bob\r\n"), ("S", "331 password\r\n"), ("C", "PASS secret\r\n")]
    for side, text in [*said, ("S", "530-Wrong.\r\n530 Login incorrect.\r\n"), ("C", "QUIT\r\n"), ("S", "221 Bye\r\n")]:
        talk.say(side, text, size=size)
    return talk


def read(path):
    return list(FtpReader().read(tcp_segments(path)))


def replies(records):
    return [(record["command"], record["reply_code"]) for record in records]


LOGIN = [("USER", 331), ("PASS", 530), ("QUIT", 221)]


def test_commands_stand_with_their_replies(tmp_path):
    user, refused, _ = read(capture(tmp_path / "a.pcap", map(ethernet, login().packets)))
    assert (user["command"], user["arg"], user["reply_code"], user["reply_msg"]) == ("USER", "bob", 331, "password")
    assert (user["id.orig_h"], user["id.orig_p"], user["id.resp_h"], user["id.resp_p"]) == (*CLIENT, *SERVER)
    assert (refused["user"], refused["arg"], refused["reply_msg"]) == ("bob", "<hidden>", "Login incorrect.")
    assert user["ts"] == 1_004_000_005
    assert user["uid"] == refused["uid"]
    assert "secret" not in str(user | refused)


@pytest.mark.parametrize("form", [{"order": ">"}, {"nano": True}, {"order": ">", "nano": True}], ids=str)
def test_byte_orders_and_resolutions(tmp_path, form):
    records = read(capture(tmp_path / "a.pcap", map(ethernet, login().packets), **form))
    assert replies(records) == LOGIN
    assert records[0]["ts"] == 1_004_000_005


@pytest.mark.parametrize(
    "form",
    [{}, {"order": ">"}, {"resolution": b"\x09", "ticks": 10**9}, {"resolution": b"\x94", "ticks": 2**20}],
    ids=str,
)
def test_next_generation_captures(tmp_path, form):
    records = read(next_generation(tmp_path / "a.pcapng", map(ethernet, login().packets), **form))
    assert replies(records) == LOGIN
    assert abs(records[0]["ts"] - 1_004_000_005) <= 1


def test_a_second_section_begins_anew(tmp_path):
    first = next_generation(tmp_path / "a", map(ethernet, login().packets)).read_bytes()
    again = next_generation(tmp_path / "b", map(ethernet, login(Talk(seq=50)).packets), order=">").read_bytes()
    (tmp_path / "c").write_bytes(first + again)
    assert replies(read(tmp_path / "c")) == LOGIN * 2


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (101, lambda ip: ip),
        (228, lambda ip: ip),
        (0, lambda ip: b"\x02\0\0\0" + ip),
        (113, lambda ip: b"\0" * 14 + b"\x08\x00" + ip),
        (276, lambda ip: b"\x08\x00" + b"\0" * 18 + ip),
        (1, lambda ip: ethernet(ip, vlans=1)),
        (1, lambda ip: ethernet(ip, vlans=2) + b"\0" * 6),
    ],
)
def test_link_layers(tmp_path, link, frame):
    assert replies(read(capture(tmp_path / "a.pcap", map(frame, login().packets), link=link))) == LOGIN


def test_ipv6(tmp_path):
    talk = login(Talk(("fd00::9", 40_000), ("2001:db8::1", 21)))
    records = read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))
    assert replies(records) == LOGIN
    assert (records[0]["id.orig_h"], records[0]["id.resp_h"]) == ("fd00::9", "2001:db8::1")


def test_another_port_is_known_by_its_greeting(tmp_path):
    talk = login(Talk(server=("10.0.0.1", 2121)))
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))) == LOGIN


def test_mail_greets_alike_and_is_left_alone(tmp_path):
    talk = Talk(server=("10.0.0.1", 25)).open().say("S", "220 mail ESMTP\r\n").say("C", "EHLO me\r\n")
    talk.say("S", "250 ok\r\n").say("C", "QUIT\r\n").say("S", "221 bye\r\n")
    assert read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets))) == []


def test_what_is_encrypted_is_left_alone(tmp_path):
    talk = Talk().open().say("S", "220 ok\r\n").say("C", "AUTH TLS\r\n").say("S", "234 go on\r\n")
    talk.say("C", b"\x16\x03\x01\n" + b"PASS x\r\n").say("S", "530 no\r\n")
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))) == [("AUTH", 234)]


def test_a_transfer_is_answered_once_and_in_order(tmp_path):
    talk = Talk().open().say("S", "220 ok\r\n").say("C", "RETR a\r\nRETR b\r\n")
    talk.say("S", "150 opening\r\n226 done\r\n550 none\r\n")
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))) == [("RETR", 226), ("RETR", 550)]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_lines_over_many_segments(tmp_path, size):
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, login(size=size).packets)))) == LOGIN


def test_retransmissions_count_once(tmp_path):
    twice = [each for each in login(size=3).packets for _ in range(2)]
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, twice)))) == LOGIN


def test_sequence_numbers_wrap(tmp_path):
    talk = login(Talk(seq=2**32 - 520))
    assert replies(read(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))) == LOGIN


def test_a_client_that_calls_again_from_the_same_port(tmp_path):
    frames = [*login(Talk(seq=9000)).packets, packet(CLIENT, SERVER, 0, flags=FIN), *login(Talk(seq=100)).packets]
    records = read(capture(tmp_path / "a.pcap", map(ethernet, frames)))
    assert replies(records) == LOGIN * 2
    assert len({record["uid"] for record in records}) == 2


def test_a_lost_segment_costs_its_lines_and_no_more(tmp_path):
    talk = Talk().open().say("S", "220 ok\r\n")
    for number in range(3):
        talk.say("C", f"SIZE {number}\r\n").say("S", f"213 {number}\r\n")
    lost = talk.packets[:3] + talk.packets[4:]
    frames = [*lost, packet(CLIENT, SERVER, 0, flags=RST)]
    records = read(capture(tmp_path / "a.pcap", map(ethernet, frames)))
    assert all(record["command"] == "SIZE" for record in records)


def test_fragments_and_other_protocols_are_passed_over(tmp_path):
    part = bytearray(login().packets[3])
    part[6:8] = b"\x20\x00"
    udp = bytearray(part)
    udp[9] = 17
    frames = [ethernet(bytes(part)), ethernet(bytes(udp)), b"", b"\x00" * 60, ethernet(b"\x45"), ethernet(b"\x60" * 30)]
    assert list(tcp_segments(capture(tmp_path / "a.pcap", frames))) == []


@pytest.mark.parametrize("data", [b"", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a" + b"\0" * 60, b"text " * 99], ids=len)
def test_what_is_no_capture_has_no_segments(tmp_path, data):
    (tmp_path / "a.pcap").write_bytes(data)
    assert list(tcp_segments(tmp_path / "a.pcap")) == []


def test_a_damaged_capture_gives_what_comes_before_the_damage(tmp_path):
    whole = capture(tmp_path / "a.pcap", map(ethernet, login().packets)).read_bytes()
    (tmp_path / "a.pcap").write_bytes(whole[:-3])
    assert replies(read(tmp_path / "a.pcap")) == LOGIN[:2]
    (tmp_path / "a.pcap").write_bytes(whole + b"\xff" * 400)
    assert replies(read(tmp_path / "a.pcap")) == LOGIN


def test_noise_in_a_capture_ends_in_nothing_worse(tmp_path):
    chance = random.Random(1)
    for write in (capture, next_generation):
        whole = write(tmp_path / "a.pcap", map(ethernet, login(size=5).packets)).read_bytes()
        for _ in range(300):
            noisy = bytearray(whole)
            for _ in range(8):
                noisy[chance.randrange(24, len(noisy))] = chance.randrange(256)
            (tmp_path / "a.pcap").write_bytes(bytes(noisy[: chance.randrange(100, 2 * len(noisy))]))
            read(tmp_path / "a.pcap")


def test_memory_is_bounded(tmp_path):
    talk = Talk().open().say("S", "220 ok\r\n")
    for _ in range(20):
        talk.say("C", b"x" * 1000)
    reader = FtpReader()
    list(reader.read(tcp_segments(capture(tmp_path / "a.pcap", map(ethernet, talk.packets)))))
    (session,) = reader._sessions.values()
    assert session.over
    assert not session.asked.text
    many = [ethernet(packet((f"10.{n >> 8}.{n & 255}.1", 1), SERVER, 1, flags=SYN)) for n in range(10_100)]
    list(reader.read(tcp_segments(capture(tmp_path / "b.pcap", many))))
    assert len(reader._sessions) == 10_000


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.randoms(), st.integers(1, 9))
def test_payload_comes_in_order_and_once_however_it_is_cut(text, first, chance, size):
    pieces = [(start, text[start : start + chance.randrange(1, size + 1)]) for start in range(len(text))]
    early = [*pieces, *chance.sample(pieces, len(pieces) // 2)]
    chance.shuffle(early)
    order = Ordered()
    order.begin((first - 1) % 2**32)
    got = b"".join(order.add((first + start) % 2**32, piece) for start, piece in early)
    assert got + order.rest() == text
    assert order.gaps == 0


def test_what_waits_too_long_is_given_up():
    order = Ordered()
    order.begin(0)
    got = b"".join(order.add(100 + n * 1000, b"y" * 1000) for n in range(70))
    assert got == b"y" * 70_000
    assert order.gaps == 1


def test_the_golden_failures_come_out_of_the_capture(data):
    path = data / "pcap" / "bruteforce.pcap"
    failures = [each for each in read(path) if each["command"] in ("USER", "PASS") and each["reply_code"] >= 500]
    seconds = [round((each["ts"] - failures[0]["ts"]) / 1e6, 2) for each in failures]
    assert len(seconds) == 30
    assert [seconds[n] for n in (0, 1, 2, 19, 29)] == [0.0, 2.46, 4.52, 37.33, 56.75]
    assert {each["id.orig_h"] for each in failures} == {"192.168.56.1"}


def test_the_table_has_the_schema_and_times(tmp_path):
    table = ftp_table(read(capture(tmp_path / "a.pcap", map(ethernet, login().packets))))
    assert table.schema == SCHEMA
    assert table.column("ts")[0].as_py() == datetime.fromtimestamp(1004.000005, UTC)


def test_a_source_gives_both_kinds_by_turns_and_reads_on_from_anywhere(data):
    path = data / "pcap" / "bruteforce.pcap"
    source = PcapSource(kinds=Kinds(), batch_rows=25)
    batches = list(source.read(path))
    assert {batch.kind for batch in batches} == {"flow", "zeek.ftp"}
    assert sum(batch.table.num_rows for batch in batches if batch.kind == "flow") == 30
    answers = [row for batch in batches if batch.kind == "zeek.ftp" for row in batch.table.to_pylist()]
    assert len(answers) == 90
    for at, batch in enumerate(batches):
        rest = list(source.read(path, batch.position))
        assert [each.table.num_rows for each in rest] == [each.table.num_rows for each in batches[at + 1 :]]


def test_flows_alone_without_kinds_and_only_what_is_wanted_with(data):
    path = data / "pcap" / "bruteforce.pcap"
    assert [batch.kind for batch in PcapSource().read(path)] == ["flow"]
    for kind in ("flow", "zeek.ftp"):
        assert {batch.kind for batch in PcapSource(kinds=Kinds(frozenset({kind}))).read(path)} == {kind}
