"""The SQL that presets share, over what different sensors write of the same thing."""

from functools import cache
from urllib.parse import quote

import pyarrow as pa
import pytest

from tocsin.detectors.summary.presets import PRESETS
from tocsin.detectors.summary.terms import (
    BELOW,
    CALLED,
    CALLED_PORT,
    CALLER,
    DOMAIN,
    FAILED,
    HALF_OPEN,
    SERVED,
    home,
    outside,
)
from tocsin.records.selection import Selection

INJECTED = PRESETS["sqli-attacker"].settings["where"]


@cache
def selection(sql):
    return Selection({"value": sql}, what="test")


def value(sql, **row):
    """Evaluate over one row that has these columns and no others."""
    selected = selection(sql).select(pa.Table.from_pylist([row]))
    assert not selected.failed, selected.failed
    return selected.columns["value"][0].as_py()


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "127.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.9", "169.254.1.1", "100.64.0.1"),
        *("100.127.255.1", "fd12::1", "fc00::1", "FE80::1", "feb0::2", "::1", "::", "::ffff:10.0.0.1"),
    ],
)
def test_private_addresses_are_ours(address):
    assert value(home("a"), a=address)
    assert not value(outside("a"), a=address)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "172.15.0.1", "172.32.0.1", "11.0.0.1", "100.63.0.1", "100.128.0.1", "192.169.0.1", "1.10.0.0"),
        *("2001:db8::1", "::ffff:8.8.8.8", "2620:fe::fe", "64:ff9b::1"),
    ],
)
def test_others_are_outside(address):
    assert not value(home("a"), a=address)
    assert value(outside("a"), a=address)


@pytest.mark.parametrize("address", ["224.0.0.251", "239.255.255.250", "255.255.255.255", "0.0.0.0", "ff02::fb"])
def test_groups_are_neither(address):
    assert not value(home("a"), a=address)
    assert not value(outside("a"), a=address)


def test_the_sensor_knows_better_than_the_private_ranges():
    assert value(home("a", "local_orig"), a="147.32.84.165", local_orig=True)
    assert not value(home("a", "local_orig"), a="10.0.0.1", local_orig=False)
    assert value(home("a", "local_orig"), a="10.0.0.1")


ENDS = {
    # what happened: failed, half open, served; and how sensors tell it.
    "unanswered": (
        True, True, False,
        [{"conn_state": "S0", "history": "S"}, {"conn_state": "S_"}, {"conn_state": "S0"},
         {"uflags": "S", "spkts": 3, "dpkts": 0}, {"spkts": 3, "dpkts": 0, "sbytes": 180}],
    ),
    "rejected": (
        True, False, False,
        [{"conn_state": "REJ", "history": "Sr"}, {"conn_state": "S_RA"}, {"conn_state": "REJ"},
         {"uflags": "SRA", "spkts": 1, "dpkts": 1}, {"conn_state": "closed", "uflags": "SRA", "spkts": 2, "dpkts": 2}],
    ),
    "half open scan": (
        True, False, False,
        [{"conn_state": "RSTO", "history": "ShR"}, {"conn_state": "SR_SA"}, {"uflags": "SRA", "spkts": 2, "dpkts": 1},
         {"conn_state": "RSTO", "orig_bytes": 0, "resp_bytes": 0}],
    ),
    "never completed": (
        True, True, False,
        [{"conn_state": "S1", "history": "Sh"}, {"conn_state": "S_SA"}, {"uflags": "SA", "spkts": 1, "dpkts": 2}],
    ),
    "served": (
        False, False, True,
        [{"conn_state": "SF", "history": "ShADadFf", "orig_bytes": 9, "resp_bytes": 9}, {"conn_state": "FSPA_FSPA"},
         {"conn_state": "S1", "history": "ShADad"}, {"conn_state": "RSTO", "history": "^ShADadR"},
         {"conn_state": "SF", "orig_bytes": 9, "resp_bytes": 9}, {"conn_state": "SRPA_SPA"},
         {"conn_state": "established", "uflags": "FSPA", "spkts": 6, "dpkts": 5},
         {"uflags": "SPA", "spkts": 6, "dpkts": 5}, {"spkts": 6, "dpkts": 5, "sbytes": 900}],
    ),
    "seen from the middle on": (
        False, False, False,
        [{"conn_state": "OTH", "history": "DFA"}, {"conn_state": "SH", "history": "F"}, {"conn_state": "PA_"},
         {"uflags": "PA", "spkts": 9, "dpkts": 0}, {"spkts": 90, "dpkts": 0, "sbytes": 90_000}],
    ),
    "one direction only": (False, False, False, [{"uflags": "SPA", "spkts": 9}, {"spkts": 3, "sbytes": 180}]),
    "connected, closed": (False, False, False, [{"conn_state": "SF", "history": "ShAFaf"}, {"conn_state": "FSA_FSA"}]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "row"),
    [pytest.param(ends[:3], row, id=f"{name} {row}") for name, ends in ENDS.items() for row in ends[3]],
)
def test_how_a_connection_ended_is_read_of_every_sensor(expected, row):
    row = {"proto": "tcp", "saddr": "10.0.0.1", "daddr": "10.0.0.2", "dport": 80, **row}
    found = tuple(bool(value(sql, **row)) for sql in (FAILED, HALF_OPEN, SERVED))
    assert found == expected


def test_udp_is_served_at_known_ports_only():
    row = {"proto": "udp", "dpkts": 2}
    assert value(SERVED, dport=53, **row)
    assert not value(SERVED, dport=50_000, **row)
    assert not value(SERVED, proto="udp", dpkts=0, dport=53)


@pytest.mark.parametrize(
    "seen", [{"history": "Hr"}, {"iflags": "SA"}, {"uflags": "SA", "spkts": 1, "dpkts": 0}], ids=str
)
def test_a_flow_that_begins_with_a_syn_ack_is_turned_round(seen):
    row = {"saddr": "10.0.0.2", "sport": 80, "daddr": "10.0.0.1", "dport": 40_000, **seen}
    assert [value(sql, **row) for sql in (CALLER, CALLED, CALLED_PORT)] == ["10.0.0.1", "10.0.0.2", 80]


def test_other_flows_are_not():
    row = {"saddr": "10.0.0.1", "sport": 40_000, "daddr": "10.0.0.2", "dport": 80, "history": "ShADadFf"}
    assert [value(sql, **row) for sql in (CALLER, CALLED, CALLED_PORT)] == ["10.0.0.1", "10.0.0.2", 80]


@pytest.mark.parametrize(
    ("query", "domain", "below"),
    [
        ("www.example.com", "example.com", 3),
        ("a.b.Example.co.uk.", "example.co.uk", 3),
        ("0102.t.example.org", "example.org", 6),
        ("example.com", "example.com", -1),
        ("localhost", "", 8),
    ],
)
def test_the_registered_domain_of_a_query(query, domain, below):
    assert value(DOMAIN, query=query) == domain
    assert value(BELOW, query=query) == below


INJECTIONS = [
    *("1' OR '1'='1", "1' or 1=1--", "admin'--", "' OR 1 -- -", "' or ''='", '" or ""="', "1' or true--", "1 OR 1=1"),
    *("1 UNION SELECT 1,2,3", "1+union+all+select+null", "1/**/UNION/**/SELECT/**/1", "1 UNION(SELECT 1,2)"),
    *("-1' union select 1,group_concat(table_name) from information_schema.tables#", "1' ORDER BY 10-- -"),
    *("1'/**/or/**/'a'='a", "1) AND 5678=5678 AND (1=1", "1' and '1' like '1", "1%27%20or%201%3d1", "1 and 1=2"),
    *("1 AND SLEEP(5)", "1;SELECT PG_SLEEP(5)--", "1' WAITFOR DELAY '0:0:5'--", "1' HAVING 1=1--"),
    *("1'; DROP TABLE users--", "1; EXEC xp_cmdshell('dir')", "x' OR username IS NOT NULL OR 'x'='x"),
    *("1 AND EXTRACTVALUE(1,CONCAT(0x5c,version()))", "1' AND ASCII(SUBSTRING((SELECT database()),1,1))>64--+"),
    *("1 and 1=(select count(*) from tablenames)", "1'||(SELECT 1 FROM dual)||'", "(SELECT 1234 FROM DUAL)"),
    *("1 RLIKE (SELECT (CASE WHEN (1=1) THEN 1 ELSE 0x28 END))", "1'/*!50000union*//*!50000select*/1,2"),
    *("1 AND (SELECT CHAR_LENGTH(USER()))>0", "%ff' or '1'='1", "1 AND ORD(MID((SELECT 1),1,1))>64"),
    *(
        "1' RLIKE SLEEP(5)",
        "1' and substring(version(),1,1)='5",
        "1' or username like '%25admin%25",
        "1'%09xOr%09'8'='8",
    ),
    *(
        "1%0bAND(SELECT%0b1%20FROM%20t)",
        "1 union all%23note%0a%23more%0aselect 1",
        "'%2bcast(name as int)%2b'",
        "'+7+'0",
    ),
    *("1 OR 2+1-1-1=1", "1 and user=0--", "1;create table t(a int)", "1);insert into t values(1)", "1%25' and '%25'='"),
    *("1 procedure analyse()", "1' AND EXP(~(SELECT 1))", "1' and length(database())>5"),
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injected_sql_is_seen(text):
    uri = "/item.php?id=" + (text if "%" in text else quote(text))
    assert value(INJECTED, uri=uri)


HARMLESS = [
    *("rock and roll", "select a car from the list", "union station select hotels", "it's a dog or a cat"),
    *("O'Brien and sons", "don't -- stop", "foo--bar", "2018-01-01--2018-02-01", "'90s and 2000s like new"),
    *('{"color":"#fff","a":1}', '"quoted phrase" and "another"', "category 5 or 6", "'hello' (in English)"),
    *("'The Who' and friends in concert", "price<5 and price>3", "order by 10", "drop table lamps", "中文"),
    *("Price gt 5 and Name eq 'x'", "startswith(Name,'a') and Age eq 3", 'project = "A" AND status = "Open"'),
    *("SELECT Name FROM Account WHERE Id='5'", "select * from weather where id in (select id from places)"),
    *(
        "Name eq 'x' and length(City) gt 5",
        "callback='+location.pathname+'&x",
        "sheet 2 AND 3 FLR",
        "soviet+union&sort=up",
    ),
    *('status="Open" AND created >= startOfDay()', "a=1;select0=true", "((smith)<in>metadata)+<and>+(5<in>number)"),
    *('SELECT a FROM "b" WHERE ("t" = \'k\' AND "s" =~ /^(x|y)$/) AND time >= 5ms GROUP BY time(1s);SELECT c FROM d',),
    *("file (1) and file (2)", "users' group and meetup is on", "5 and 10 = price", "%zz", "100%", ""),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_uris_are_not(text):
    assert not value(INJECTED, uri="/search?q=" + (text if "%" in text else quote(text)))
    assert not value(INJECTED, uri="/search?q=" + text)
