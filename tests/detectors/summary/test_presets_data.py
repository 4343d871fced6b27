"""All presets together over real captures: quiet where nothing is wrong, and each finding accounted for.

What rings, and why that is right:
- bruteforce.pcap: a password guesser at an FTP server (golden case D02).
- iot23-34-1: a Mirai bot, by its labels in command and control and DDoS. It floods 123.59.209.185 (two minutes of the
  clock, so two findings) and holds its connection to the server that commands it for 13.6 hours.

What does not: argus-malicious is a phone whose traffic looks like a phone's; argus-mixed scans 11 addresses; in
suricata-eve.json a camera is tried by the whole internet, no one faster than 7 ports in 5 minutes; nmap-vsn.pcap asks 7
addresses; the lines of dnscat2 in RITA's logs are 34, two minutes of it.
"""

import numpy as np
import pytest

from tocsin.cluster.single import SingleEngine
from tocsin.detectors.summary.build import build
from tocsin.detectors.summary.findings import title
from tocsin.detectors.summary.presets import PRESETS
from tocsin.jobs.inputs import Inputs
from tocsin.settings import IngestSettings
from tocsin.settings_summaries import SummarySettings
from tocsin.testing.clock import FakeClock

QUIET = [
    *("zeek/zat", "zeek/zat/json", "zeek/rita-has_unknown_field", "zeek/rita-json_with_all_fields"),
    *("zeek/rita-open_conns", "zeek/rita-proxy", "zeek/rita-text_file", "zeek/rita-truncated", "zeek/rita-valid_json"),
    *("zeek/rita-valid_tsv", "flows/argus-malicious.binetflow.gz", "flows/argus-mixed.binetflow.gz"),
    *("flows/suricata-eve.json.gz", "pcap/nmap-vsn.pcap", "pcap/wikipedia.pcap", "pcap/workshop_2011_browse.pcap"),
]


@pytest.fixture(scope="module")
def summaries():
    return {each.name: each for each in build([SummarySettings(preset=name) for name in PRESETS])}


@pytest.fixture
def watched(data, summaries):
    """Run all presets over a data set: titles by summary, and results by summary."""

    def run(path):
        engine = SingleEngine(list(summaries.values()))
        kinds = {each.kind for summary in summaries.values() for each in summary.inputs}
        told = engine.poll()
        for records in Inputs([data / path], settings=IngestSettings(), clock=FakeClock(), kinds=kinds):
            told.extend(engine.observe(records.kind, records.table, np.asarray(records.ordinals, np.uint64)))
            told.extend(engine.advance(records.watermark_us))
        told.extend(engine.finish())
        assert not any(status.counts["rejected"] for status in engine.status())
        titles = [(each.summary, title(summaries[each.summary], each)) for each in told.crossings]
        rows = [(result.summary, row) for result in told.results for row in result.table.to_pylist()]
        return titles, rows

    return run


@pytest.mark.parametrize("path", QUIET)
def test_nothing_rings_without_an_attack(watched, path):
    assert watched(path)[0] == []


def test_the_password_guesser_in_the_capture(watched):
    assert watched("pcap/bruteforce.pcap")[0] == [
        ("ftp-guessing", "192.168.56.1 had 20 failed FTP logins on 1 server(s) in 37 s")
    ]


def test_the_bot(watched):
    flood = "123.59.209.185 port 80 got 1000 half-open connections from 1 source(s) in 2 s"
    assert watched("flows/iot23-34-1.conn.log.labeled.gz")[0] == [
        ("long-connections", "192.168.1.195 held a connection to 185.244.25.235 port 6667 for 13.6 hours"),
        ("syn-flood", flood),
        ("syn-flood", flood),
    ]


def test_statistics_of_a_small_log(watched):
    rows = watched("zeek/zat")[1]
    weird = {row["name"]: (row["seen"], row["hosts"]) for name, row in rows if name == "weird-statistics"}
    assert weird["DNS_Conn_count_too_large"] == (11, 1)
    assert weird["unknown_protocol_2"] == (1, 0)
    flows = [row for name, row in rows if name == "application-statistics"]
    assert sum(row["flows"] for row in flows) >= 360
    assert {"http", "dns", "ssl", "unknown"} <= {row["service"] for row in flows}
