"""What injected SQL looks like in a URI.

Query languages that stand in URIs by right (OData, JQL, SOQL, InfluxQL) compare names with literals, and searches hold
the words of SQL; so words alone are nothing here, nor is a name compared with a literal behind a whole quotation.
"""

from typing import Final

URI: Final = "url_decode(regexp_replace(uri, '%[89A-Fa-f][0-9A-Fa-f]', '?', 'g'))"
"""A request's URI without its escapes; what is no ASCII is '?', so that no byte keeps the rest from being read."""

_S: Final = r"[\s\x0b+]"
"""A blank; in a URI + is one."""

_GAP: Final = rf"(?:{_S}|[(!]|/\*.*?\*/|#[^\n]*\n)"
"""What may stand between two words of SQL: blanks, brackets, comments."""

_LITERAL: Final = r"""(?:\d+(?:[-+*/]\d+)*|'[^']*'|"[^"]*")"""
_JOINED: Final = r"(?:\b(?:or|and|xor)\b|\|\||&&)"
_COMPARED: Final = r"(?:=|<|>|!=|\b(?:not\s+)?(?:r?like|regexp|in|between)\b)"
_CLOSED: Final = rf"['\"\d)%]{_S}*[\s\x0b+)]*"
"""The end of the value that the program put a quote or nothing around."""

_DELAYS: Final = (
    r"sleep|pg_sleep|dbms_lock\.sleep|benchmark|extractvalue|updatexml|utl_inaddr\.get_host_\w+|utl_http\.request"
    r"|dbms_pipe\.receive_message|xmltype|load_file|gtid_subset|make_set|elt"
)
_STATEMENTS: Final = (
    rf"(?:insert{_S}+into|update{_S}+\w+{_S}+set|delete{_S}+from|(?:create|drop|alter|truncate){_S}+"
    rf"(?:table|database|user)|exec(?:ute)?|declare{_S}+@|waitfor|shutdown|if{_S}*\()"
)

_SHAPES: Final = {
    "a union": rf"\bunion(?:{_GAP}|/\*!\d*)+(?:(?:all|distinct){_GAP}+)?select\b",
    "a literal compared": rf"{_JOINED}{_GAP}*(?:not{_GAP}+)?{_LITERAL}[\s)]*{_COMPARED}{_S}*(?:['\"(\d@-]|\w+\()",
    "always true": rf"['\")][\s)]*{_JOINED}{_GAP}+(?:true|\d+){_S}*(?:--|#)",
    "a function compared": rf"{_CLOSED}{_JOINED}{_GAP}*\w+{_S}*\(.{{1,200}}?\)[\s)]*(?:=|<|>|\blike\b)",
    "a case": rf"{_CLOSED}{_JOINED}{_GAP}*(?:exists|if|iif|case{_GAP}+when)\b{_S}*[(\w]",
    "a name behind half a quotation": rf"=[\w.%-]{{0,20}}['\"][\s)]*{_JOINED}{_GAP}+\w+{_GAP}*{_COMPARED}",
    "a name compared, the rest cut off": rf"\d{_S}+{_JOINED}{_S}+\w+{_S}*[=<>][^&]{{0,50}}--{_S}*$",
    "a sub-select": rf"(?:\b(?:or|and|rlike|regexp)\b|[=<>~]|\|\|)[\s('\"+]*\({_GAP}*select\b|\w\(\(select\b",
    "a delay or an error": rf"(?:\b(?:or|and|rlike|regexp)\b|[=<>,;(]|\|\|){_S}*(?:select{_S}+)?(?:{_DELAYS}){_S}*\(",
    "a chosen value": rf"\b(?:rlike|regexp){_GAP}+if{_S}*\(",
    "a value put together": rf"'{_S}*(?:\+|\|\|){_S}*(?:\d+|\w+{_S}*\(.{{1,200}}?\)){_S}*(?:\+|\|\|){_S}*'",
    "a second query": rf"['\"\d]{_GAP}*;{_GAP}*select\b",
    "a second statement": rf"['\"\w)]{_GAP}*;{_GAP}*{_STATEMENTS}[\s\x0b+(\w-]",
    "a wait": rf"\bwaitfor{_S}+delay{_S}+['\"]",
    "columns counted": rf"['\"\d)]{_GAP}+(?:order|group){_GAP}+by{_GAP}+\d+(?:\s*,\s*\d+)*{_S}*(?:--|#|/\*)",
    "groups compared": rf"\bhaving{_S}+\d+\s*=\s*\d+|\bprocedure{_S}+analyse{_S}*\(",
    "the rest cut off": r"\w['\"][\s);+]*(?:--(?:[\s+-]|$)|#\s*$|/\*)",
    "the schema": rf"\bfrom{_S}+(?:information_schema|mysql|pg_catalog|sys|master)\.\w|\bsqlite_master\b",
    "a file or the server": rf"\binto{_S}+(?:outfile|dumpfile)\b|@@(?:version|datadir|hostname)\b|\bxp_cmdshell\b",
}

INJECTED: Final = "regexp_matches({}, '{}')".format(URI, f"(?is){'|'.join(_SHAPES.values())}".replace("'", "''"))
"""SQL over a record of zeek.http that holds where the URI has any of the shapes."""
