"""Kinds of records: which names are kinds, when a record counts, whom it is about."""

import pytest

from tocsin.records.kinds import KIND, host_of, time_of


@pytest.mark.parametrize(
    ("kind", "time", "host"),
    [
        ("flow", "coalesce(etime, stime)", "saddr"),
        ("zeek.ssh", "ts", "id.orig_h"),
        ("eve.dns", "timestamp", "src_ip"),
        ("event", "ts", ""),
    ],
)
def test_a_kind_has_a_time_and_a_host(kind, time, host):
    assert KIND.fullmatch(kind)
    assert (time_of(kind), host_of(kind)) == (time, host)


def test_a_connection_of_zeek_counts_when_it_ended():
    assert "duration" in time_of("zeek.conn")
    assert host_of("zeek.conn") == "id.orig_h"


@pytest.mark.parametrize("word", ["flows", "zeek", "zeek.", "suricata.dns", "eve.a b"])
def test_what_is_no_kind(word):
    assert not KIND.fullmatch(word)
