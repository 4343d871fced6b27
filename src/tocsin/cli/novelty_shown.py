"""The most novel observations for people: each component with its share as a bar, beside what is usual."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tocsin.cli.output import print_table, printable

if TYPE_CHECKING:
    from tocsin.detectors.novelty.model import NoveltyModel
    from tocsin.detectors.novelty.scores import Scores

BAR = 8
"""Characters of a whole bar."""
MOST_COLUMNS = 6
"""Components that have a column of their own."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Shown:
    """An observation as `rows.as_rows` gives it. raw: its surprise in bits, which tells equal scores apart."""

    row: dict[str, Any]
    raw: float

    @property
    def rank(self) -> tuple[float, float, int]:
        """Sorts the most novel first, and of those the earliest."""
        return -self.row["score"], -self.raw, self.row["sequence"]


@dataclass
class Top:
    """The most novel observations of many. most: how many; least: the score from which one is wanted.

    once: of equal observations only the most novel; they would fill the table, as they come one after the other.
    """

    most: int
    least: float = 0.0
    once: bool = False
    rows: list[Shown] = field(default_factory=list)

    def add(self, scores: "Scores") -> None:
        """Take in scores."""
        from tocsin.detectors.novelty.rows import picked

        floor = self.rows[-1].row["score"] if len(self.rows) >= self.most else 0.0
        wanted = np.flatnonzero(scores.score >= max(self.least, floor))
        wanted = wanted[np.lexsort((wanted, -scores.raw[wanted], -scores.score[wanted]))]
        wanted = np.sort((_firsts(scores, wanted) if self.once else wanted)[: self.most])
        if not len(wanted):
            return
        found = zip(picked(scores, wanted), scores.raw[wanted].tolist(), strict=True)
        rows = sorted([*self.rows, *(Shown(*each) for each in found)], key=lambda each: each.rank)
        if self.once:
            rows = list({tuple(each.row["observation"]): each for each in reversed(rows)}.values())
            rows.sort(key=lambda each: each.rank)
        self.rows = rows[: self.most]


def _firsts(scores: "Scores", wanted: np.ndarray) -> np.ndarray:
    """Return of equal observations the first in this order; the order stays."""
    coded = [column.take(wanted).dictionary_encode().indices.to_numpy() for column in scores.columns]
    _, first = np.unique(np.stack(coded), axis=1, return_index=True)
    return wanted[np.sort(first)]


def show(rows: Sequence[Shown], model: "NoveltyModel", title: str) -> None:
    """Print observations as a table, each beside what would have been usual."""
    if not rows:
        return
    own = model.length <= MOST_COLUMNS
    names = list(model.fields) or [f"[{index}]" for index in range(model.length)]
    columns = ["#", "score", *(names if own else [", ".join(names)]), "usually"]
    print_table(title, columns, [[*_cells(each, own=own), _usual(each, model)] for each in rows])


def _usual(shown: Shown, model: "NoveltyModel") -> str:
    from tocsin.detectors.novelty.usual import usual_beside

    found = usual_beside(model, shown.row["observation"], shown.row["mostNovelComponent"]["index"])
    return ", ".join(found[0].observation) if found else "-"


def bar(share: float) -> str:
    """Draw a share, 0 to 1."""
    eighths = round(share * BAR * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _cells(shown: Shown, *, own: bool) -> list[Any]:
    row = shown.row
    parts = [
        f"{printable(value)}\n{bar(part['share'])} {part['share']:.0%}" if part["share"] >= 0.005 else printable(value)
        for value, part in zip(row["observation"], row["components"], strict=True)
    ]
    score = f"{row['score']:.4f}" + ("" if row["warm"] else " (cold)")
    return [row["sequence"], score, *(parts if own else [", ".join(part.replace("\n", " ") for part in parts)])]
