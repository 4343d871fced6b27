import re
from dataclasses import replace

import pytest

from tocsin.records.finding import Reason
from tocsin.sinks.syslog import LONGEST_VALUE, escape_value, syslog_message

# RFC 5424, section 6: HEADER SP STRUCTURED-DATA SP BOM MSG
MESSAGE = re.compile(
    r"^<(?P<pri>\d{1,3})>1 (?P<time>\S{20,32}) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) - (?P<id>[!-~]{1,32}) "
    r'(?P<data>\[[^ =\]"]{1,32}( [^ =\]"]{1,32}="([^"\\\]]|\\["\\\]])*")*\]) \ufeff(?P<text>.*)$'
)


def parse(message):
    found = MESSAGE.match(message.decode())
    assert found, message
    return found


def test_one_message(finding):
    found = parse(syslog_message(finding, "sensor1"))
    assert int(found["pri"]) == 16 * 8 + 3
    assert found["time"] == "2025-01-08T10:00:00.250000Z"
    assert (found["host"], found["app"], found["id"]) == ("sensor1", "tocsin", "port-scan")
    assert 'score="99.95"' in found["data"]
    assert 'reason1="dport: 1, 2 and 40 more, expected 443, 53 (80 %)"' in found["data"]
    assert found["text"] == finding.title


@pytest.mark.parametrize(("severity", "code"), [("info", 6), ("low", 5), ("medium", 4), ("high", 3), ("critical", 2)])
def test_severities(finding, severity, code):
    assert int(parse(syslog_message(replace(finding, severity=severity), "h"))["pri"]) % 8 == code


def test_hostile_values_stay_in_their_place(finding):
    hostile = 'a"] [evil x="1"]\\\n\x00é\udc80'
    changed = replace(
        finding, entity=hostile, title=hostile, kind="a b" * 30, reasons=[Reason(hostile, hostile * 50, "", 1.0)]
    )
    found = parse(syslog_message(changed, "my host\n"))
    assert found["host"] == "my_host_"
    assert len(found["id"]) == 32
    assert "\n" not in found["text"]
    assert 'entity="a\\"\\] [evil x=\\"1\\"\\]\\\\  é?"' in found["data"]
    assert parse(syslog_message(changed, ""))["host"] == "-"


def test_planted_fault_an_unescaped_value_is_no_message(finding):
    message = syslog_message(replace(finding, entity='x"]y'), "h").replace(b'\\"', b'"').replace(b"\\]", b"]")
    assert not MESSAGE.match(message.decode())


def test_values_are_cut():
    assert escape_value("x" * 1000) == "x" * (LONGEST_VALUE - 1) + "…"
    assert escape_value('"]\\') == '\\"\\]\\\\'
