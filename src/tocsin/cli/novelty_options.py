"""What the novelty commands are asked: fields, spans, patterns, and the options of a new context."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from tocsin.detectors.novelty.options import Options
from tocsin.errors import InputError, SettingsError
from tocsin.records.when import parse_span

if TYPE_CHECKING:
    from tocsin.detectors.novelty.pattern import Part

context_option = click.option("--context", "-x", metavar="NAME", help="The context that learns or answers.")

READING = (
    click.argument("paths", nargs=-1, metavar="[FILE]…"),
    click.option(
        "--fields",
        multiple=True,
        metavar="A,B,…",
        help="Columns, or SQL over them, the most general first.  [default: those that the context has learned]",
    ),
    click.option("--observe", "expressions", multiple=True, metavar="SQL", help="One more field; may be repeated."),
    click.option("--where", default="", metavar="SQL", help="Only records for which this holds."),
    click.option("--kind", default="", metavar="NAME", help="Only records of this kind: flow, zeek.ssh, eve.dns, …"),
    click.option(
        "--format",
        "format_name",
        default="",
        metavar="NAME",
        help="csv, ndjson, parquet (tables of any columns), zeek, eve, argus, pcap, csv:NAME; by content otherwise.",
    ),
    click.option("--delimiter", default="", metavar="CHAR", help="What separates the columns of a CSV."),
    click.option("--no-header", is_flag=True, help="The CSV has no line of names: columns are c1, c2, …"),
    click.option("--since", metavar="TIME", help="Without FILE: the lake's flows from this time on; 24h, 7d ago."),
    click.option("--until", metavar="TIME", help="Without FILE: the lake's flows before this time."),
    click.option("--least", type=click.FloatRange(0, 1), default=0.0, help="Only what scores no lower: 0.99."),
    click.option("--most", type=click.IntRange(min=1), metavar="N", help="Only the N most novel, these first."),
)

CREATING = (
    click.option(
        "--order",
        type=click.Choice(["given", "auto"]),
        help="Each field given those before it, or given all others.  [default: given]",
    ),
    click.option(
        "--half-life", metavar="SPAN", help="What was seen counts half after 7d, or after 100000 observations."
    ),
    click.option("--window", metavar="SPAN", help="Only what was seen in 30d, or in 100000 observations, counts."),
    click.option("--max-entries", type=int, metavar="N", help="Most combinations of values.  [default: 2,000,000]"),
    click.option("--warm-up", type=int, metavar="N", help="Observations before scores are to be trusted."),
    click.option(
        "--bins",
        multiple=True,
        metavar="FIELD=…",
        help="A number as a category: bytes=100,1000,10000 (edges), or bytes=q8 (eight of equal size).",
    ),
)


def options(group: Sequence[Callable[..., Any]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command these options."""

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(group):
            command = option(command)
        return command

    return give


def split_fields(fields: Sequence[str], expressions: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the SQL of each field: separated by commas, those in brackets and quotes aside; then the expressions.

    >>> split_fields(["proto,substr(host, 1, 3)", '"a,b"'])
    ('proto', 'substr(host, 1, 3)', '"a,b"')
    """
    found: list[str] = []
    for text in fields:
        parts, depth, quote = [""], 0, ""
        for char in text:
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            depth += (char in "([{") - (char in ")]}") if not quote else 0
            if char == "," and not depth and not quote:
                parts.append("")
            else:
                parts[-1] += char
        found += [part.strip() for part in parts]
    if any(not part for part in found):
        raise SettingsError(f"--fields: {', '.join(fields)!r} has an empty field; separate names by one comma")
    return (*found, *(each.strip() for each in expressions))


def context_options(fields: Sequence[str], given: dict[str, Any]) -> Options:
    """Return the options of a new context. Raises SettingsError."""
    document: dict[str, Any] = {"fields": list(fields)}
    document |= {name: given[name] for name in ("order", "max_entries", "warm_up") if given.get(name) is not None}
    for name in ("half_life", "window"):
        if (text := given.get(name)) is not None:
            option = f"--{name.replace('_', '-')}"
            plain = text.replace("_", "").isdecimal()
            key, value = (name, int(text)) if plain else (f"{name}_s", parse_span(text, option).total_seconds())
            document[key] = value
    document["bins"] = dict(_bins(text) for text in given.get("bins", ()))
    try:
        return Options.of(document)
    except SettingsError as error:
        keys, colon, said = str(error).partition(":")
        raise SettingsError(f"{' and '.join(map(_option_of, keys.split(' and ')))}{colon}{said}") from error


def _option_of(key: str) -> str:
    """Return an option by the key that it sets: half_life_s -> --half-life, bins.port -> --bins port."""
    name, _, field = key.partition(".")
    return f"--{name.removesuffix('_s').replace('_', '-')}" + (f" {field}" if field else "")


def asked_options(given: dict[str, Any]) -> list[str]:
    """Return which options of a new context were given, as they are written."""
    names = ("order", "half_life", "window", "max_entries", "warm_up", "bins")
    return [f"--{name.replace('_', '-')}" for name in names if given.get(name) not in (None, ())]


def pattern_of(parts: Sequence[str], fields: Sequence[str], length: int) -> "list[Part]":
    """Return a kind of observations out of FIELD=VALUE and FIELD=LOW..HIGH; fields by name, or by number from 0.

    FIELD==VALUE is one value, also with dots in it. Raises SettingsError, InputError.
    """
    pattern: list[Part] = [None] * length
    for text in parts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"{text!r}: must be FIELD=VALUE or FIELD=LOW..HIGH, such as proto=udp or port=0..1023")
        at = _index(name.strip(), fields, length)
        if pattern[at] is not None:
            raise SettingsError(f"{name.strip()}: is there twice; a field has one value, or one range LOW..HIGH")
        pattern[at] = _part(value)
    if all(part is None for part in pattern):
        raise InputError("nothing is named; say which: FIELD=VALUE, or reset the context")
    return pattern


def _index(name: str, fields: Sequence[str], length: int) -> int:
    if name in fields:
        return list(fields).index(name)
    if name.isdecimal() and int(name) < length:
        return int(name)
    known = ", ".join(fields) or f"0 to {length - 1}"
    raise SettingsError(f"there is no field {name!r}; there: {known}")


def _part(value: str) -> "Part":
    from tocsin.detectors.novelty.pattern import Range

    if value.startswith("="):
        return value[1:]
    low, dots, high = value.partition("..")
    return Range(low or None, high or None) if dots and (low or high) else value


def _bins(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, value = text.rpartition("=")
    if equals and re.fullmatch(r"q\d+", value):
        return name, {"quantiles": int(value[1:])}
    try:
        return name, {"edges": [float(edge) for edge in value.split(",")]} if equals else {}
    except ValueError as error:
        raise SettingsError(f"--bins: {text!r} must be FIELD=100,1000,10000 or FIELD=q8") from error
