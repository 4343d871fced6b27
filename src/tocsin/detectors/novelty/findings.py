"""What a novel record tells the verdict: title, score, reasons, and which records make one finding."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from tocsin.detectors.novelty.definition import Definition
from tocsin.detectors.novelty.known import Known
from tocsin.records.finding import Candidate, Reason
from tocsin.records.times import from_us

DETECTOR = "novelty"

MOST_RECORDS = 20
MOST_EPISODES = 10_000
DAY_US = timedelta(days=1) // timedelta(microseconds=1)

_LEAST_SHARE = 0.005
_SHOWN = 3


@dataclass(frozen=True)
class Novel:
    """A record that is told. component: the index of its most novel one. time_us: microseconds since 1970.

    observation, bits, shares: one a component. usual: gives what is known that has another value in a component, best
    first, which takes a while. record: as plain values.
    """

    entity: str
    time_us: int
    component: int
    score: float
    raw: float
    observation: tuple[str, ...]
    bits: tuple[float, ...]
    shares: tuple[float, ...]
    usual: Callable[[int], Sequence[Known]]
    record: dict[str, Any]


@dataclass
class Episode:
    """An entity's novel records of one day that are novel in the same component: one finding.

    start_us, end_us: of the first and the last. count: how many; told: how many when it was last told. score, raw:
    the highest. title, reasons, scope: of the record with that. records: the newest of them.
    """

    entity: str
    component: int
    start_us: int
    end_us: int
    count: int = 0
    told: int = 0
    score: float = -1.0
    raw: float = -1.0
    title: str = ""
    reasons: list[list[Any]] = field(default_factory=list)
    scope: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)


class Episodes:
    """Joins a detector's novel records to findings, and says at which records each is told.

    A finding is told with every record that is more novel than those before it, and whenever their number has doubled:
    moments that depend on the records alone, however they come in batches. `rest` tells what is new since.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._open: dict[tuple[str, int, int], Episode] = {}

    def add(self, novel: Novel) -> list[Candidate]:
        """Take in a novel record; return what is told by it."""
        key = (novel.entity, novel.component, novel.time_us // DAY_US)
        found: list[Candidate] = []
        if key not in self._open:
            found = self._make_room(key[2])
            self._open[key] = Episode(novel.entity, novel.component, novel.time_us, novel.time_us)
        its = self._open[key]
        its.count += 1
        its.start_us, its.end_us = min(its.start_us, novel.time_us), max(its.end_us, novel.time_us)
        its.records = [*its.records, novel.record][-MOST_RECORDS:]
        rises = (novel.score, novel.raw) > (its.score, its.raw)
        if rises:
            self._rise(its, novel)
        if rises or its.count & (its.count - 1) == 0:
            found.append(self._told(its))
        return found

    def rest(self) -> list[Candidate]:
        """Return what is new since it was last told."""
        return [self._told(each) for each in self._open.values() if each.told < each.count]

    def state(self) -> list[dict[str, Any]]:
        """Return the open findings as JSON values."""
        return [asdict(each) for each in self._open.values()]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go on from a state."""
        kept = [Episode(**each) for each in state]
        self._open = {(each.entity, each.component, each.start_us // DAY_US): each for each in kept}

    def _make_room(self, day: int) -> list[Candidate]:
        """Let go of the findings of days that are over and, where there are too many, of the oldest."""
        over = [key for key in self._open if key[2] < day - 1]
        spare = len(self._open) - len(over) - MOST_EPISODES + 1
        over += [key for key in self._open if key[2] >= day - 1][: max(spare, 0)]
        gone = [self._open.pop(key) for key in over]
        return [self._told(each) for each in gone if each.told < each.count]

    def _rise(self, its: Episode, novel: Novel) -> None:
        its.score, its.raw = novel.score, novel.raw
        its.title = title(self.definition, novel)
        its.reasons = [list(vars(each).values()) for each in reasons(self.definition, novel)]
        its.scope = scope(self.definition, novel)

    def _told(self, its: Episode) -> Candidate:
        its.told = its.count
        return Candidate(
            detector=DETECTOR,
            kind=self.definition.finding_kind,
            entity=its.entity,
            start=from_us(its.start_us),
            end=from_us(its.end_us),
            raw=its.raw,
            score=100 * its.score,
            title=its.title,
            reasons=[Reason(*each) for each in its.reasons],
            records=list(its.records),
            record_count=its.count,
            scope=its.scope,
            about=f"{self.definition.name} {self.definition.observe[its.component]}",
        )


def title(definition: Definition, novel: Novel) -> str:
    """Say what is novel, beside what is usual: `usually: tcp, 443, ssl; here: tcp, 443, none`."""
    name, value = definition.observe[novel.component], novel.observation[novel.component]
    about = f"{novel.entity}: " if novel.entity != definition.name else ""
    other = next(iter(novel.usual(novel.component)), None)
    usual = f"; usually: {', '.join(other.observation)}; here: {', '.join(novel.observation)}" if other else ""
    return f"{about}unusual {name}: {value}{usual}"


def reasons(definition: Definition, novel: Novel) -> list[Reason]:
    """Return a reason a component, those that made the score first; with these what is usual in their place."""
    order = sorted(range(len(novel.shares)), key=lambda at: (-novel.shares[at], at))
    return [
        Reason(
            definition.observe[at],
            f"{novel.observation[at]} ({novel.bits[at]:.1f} bits)",
            _expected(novel, at) if novel.shares[at] >= _LEAST_SHARE else "-",
            round(novel.shares[at], 4) if novel.shares[at] >= _LEAST_SHARE else 0.0,
        )
        for at in order
    ]


def scope(definition: Definition, novel: Novel) -> dict[str, Any]:
    """Return the observation as column -> value, as far as its components are plain columns, and the entity's."""
    names = [*definition.plain.values()]
    names += [definition.entity] if definition.entity in novel.record else []
    return {name: novel.record[name] for name in dict.fromkeys(names) if name in novel.record}


def _expected(novel: Novel, at: int) -> str:
    usual = novel.usual(at)
    if not usual:
        return "-"
    values = list(dict.fromkeys(each.observation[at] for each in usual))[:_SHOWN]
    return f"usually {', '.join(values)} ({usual[0].count:,.0f} times)"
