"""What a host did, in words: the title of a finding, what was seen and what was expected."""

from typing import Any

from tocsin.detectors.outlier.behaviours import BY_NAME
from tocsin.records.finding import Reason

Activity = dict[str, Any]

NOTABLE_BYTES = 10**8
"""So many bytes of a flood are worth a word."""


def subject(activity: Activity) -> str:
    """Return what makes an activity one of its own: peer, protocol and port, as far as it has them."""
    return " ".join(part for part in (activity["daddr"], _service(activity)) if part)


def title(host: str, activities: list[Activity]) -> str:
    """Return the sentence about one behaviour of a host, its activities strongest first."""
    first = activities[0]
    text = f"{host} {_did(first)}"
    more = len(activities) - 1
    if not more:
        return text
    noun = "addresses" if first["daddr"] else "ports"
    return (
        f"{text}, and likewise {more} other {noun if more > 1 else noun.removesuffix('es' if first['daddr'] else 's')}"
    )


def seen(activity: Activity) -> str:
    """Return the behaviour's own statistic, in words."""
    return _did(activity)


def reasons(activity: Activity, *, itself: float, others: int, as_much: int) -> list[Reason]:
    """Return the reasons of a finding, most important first.

    itself: the share of the evidence that the behaviour has by itself, 0 to 1; the rest is that others do not do so.
    others, as_much: how many other hosts of its kind there were that day, and how many of them did as much.
    """
    kind = activity["behaviour"]
    parts = [Reason(kind, seen(activity), BY_NAME[kind].expected, 1.0)]
    if kind == "beacon":
        parts = _beacon_parts(activity)
    peers = Reason(
        "other hosts",
        f"{as_much:,} of {others:,} other hosts did as much",
        "as many of them as would be usual" if others else "no other host to compare with",
        1.0 - itself,
    )
    named = [Reason(part.field, part.seen, part.expected, round(part.share * itself, 3)) for part in parts]
    listed = [*named, Reason(peers.field, peers.seen, peers.expected, round(peers.share, 3))]
    return sorted((part for part in listed if part.share > 0), key=lambda part: -part.share)


def _beacon_parts(activity: Activity) -> list[Reason]:
    beat = f"within 35 % of {_span(activity['gap_ms'])}"
    rhythm = f"{_percent(activity['on_beat'], 1)} of {activity['flows'] - 1:,} gaps {beat}"
    size = f"{_percent(activity['same_size'], 1)} of what was sent within 10 % of one size"
    verb = "goes" if activity["users"] == 1 else "go"
    place = f"{activity['users']:,} of our hosts {verb} to {activity['daddr']}"
    return [
        Reason("rhythm", rhythm, "a quarter of the gaps, where contacts come at random", 0.5),
        Reason("popularity", place, "many, for a service", 0.3),
        Reason("size", size, "sizes that differ", 0.2),
    ]


def _did(activity: Activity) -> str:
    return _SENTENCES[activity["behaviour"]](activity)


def _address_scan(a: Activity) -> str:
    return f"contacted {a['peers']:,} addresses on {_service(a)}, {_percent(a['failed'], a['peers'])} without an answer"


def _port_scan(a: Activity) -> str:
    share = _percent(a["failed"], a["ports"])
    return f"tried {a['ports']:,} {a['proto']} ports of {a['daddr']}, {share} without an answer"


def _brute_force(a: Activity) -> str:
    return (
        f"made {a['flows']:,} short connections to {a['daddr']} on {_service(a)}, {a['peak']:,} of them in ten minutes"
    )


def _beacon(a: Activity) -> str:
    return f"contacted {a['daddr']} on {_service(a)} every {_span(a['gap_ms'])}, {a['flows']:,} times"


def _exfiltration(a: Activity) -> str:
    return f"sent {_size(a['bytes_out'])} to {a['daddr']}, {_size(a['bytes_in'])} came back"


def _lateral(a: Activity) -> str:
    return f"reached {a['peers']:,} of our hosts on administration ports"


def _flood(a: Activity) -> str:
    share = _percent(a["failed"], a["flows"])
    size = f" ({_size(a['bytes_out'])})" if a["bytes_out"] >= NOTABLE_BYTES else ""
    rate = f" {a['peak']:,} of them in ten minutes," if a["peak"] else ""
    return f"sent {a['flows']:,} {a['proto']} flows{size} to {a['daddr']},{rate} {share} unanswered"


def _mail(a: Activity) -> str:
    return f"went to {a['peers']:,} mail servers, {_percent(a['failed'], a['peers'])} without an answer"


def _dns_tunnel(a: Activity) -> str:
    return f"asked {a['daddr']} {a['flows']:,} DNS questions ({_size(a['bytes_out'])})"


_SENTENCES = {
    "address-scan": _address_scan,
    "port-scan": _port_scan,
    "brute-force": _brute_force,
    "beacon": _beacon,
    "exfiltration": _exfiltration,
    "lateral-movement": _lateral,
    "flood": _flood,
    "mail-fan-out": _mail,
    "dns-tunnel": _dns_tunnel,
}


def _service(activity: Activity) -> str:
    if activity["dport"] is None:
        return str(activity["proto"] or "")
    return str(activity["proto"]) if "icmp" in str(activity["proto"]) else f"{activity['proto']}/{activity['dport']}"


def _percent(part: float, whole: float) -> str:
    return f"{int(100 * part / max(1, whole))} %"


def _span(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
