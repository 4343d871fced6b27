"""What the novelty routes share: the contexts behind a group commit, what is novel of late, the transformations."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tocsin.errors import InputError, NotFoundError
from tocsin.jobs.context import check_name
from tocsin.serve.group_commit import GroupCommit
from tocsin.serve.parts import Parts
from tocsin.serve.problems import Problem
from tocsin.serve.recent import Recent
from tocsin.serve.sql_threads import SqlThreads
from tocsin.serve.transformation_store import Transformations

if TYPE_CHECKING:
    from tocsin.jobs.contexts import Contexts

T = TypeVar("T")

RESERVED = frozenset({"recent"})
"""Words that no context may be called: paths of the API begin with them."""


def check_new(context: str) -> None:
    """Raise Problem for what no context may be called. What is there has passed it."""
    try:
        check_name(context)
    except InputError as error:
        raise Problem(422, detail=str(error), field="context", remedy="choose another name") from error
    if context in RESERVED:
        raise Problem(422, detail=f"{context!r} is a path of this API", field="context", remedy="choose another")


@dataclass
class Novelty:
    """One a service; `of` makes it when it is first asked for."""

    parts: Parts
    recent: Recent
    group: GroupCommit
    transformations: Transformations
    sql: SqlThreads

    @classmethod
    def of(cls, parts: Parts) -> "Novelty":
        """Return what the novelty routes of a service share."""
        if parts.novelty is None:
            recent = Recent(parts.clock)
            group = GroupCommit(lambda: parts.contexts, recent.add)
            folder = f"{parts.domain}/transformations/"
            sql = SqlThreads()
            parts.novelty = cls(parts, recent, group, Transformations(parts.store, folder, parts.clock), sql)
            parts.at_end += [group.close, sql.close]
        found: Novelty = parts.novelty
        return found

    @property
    def contexts(self) -> "Contexts":
        """The named models. Raises Problem 503 until they are replayed."""
        return self.parts.contexts

    def length_of(self, context: str) -> int:
        """Return how many components a context's observations have, 0 while that is not known."""
        try:
            return self.contexts.model(context).length
        except NotFoundError:
            return 0

    def nearest(self, context: str, columns: list[Any], most: int) -> list[list[dict[str, Any]]]:
        """Return what is known that is nearest to each observation: how often, and which components differ."""
        try:
            found = self.contexts.model(context).nearest(columns, most)
        except NotFoundError:
            return [[] for _ in range(len(columns[0]))]
        return [
            [{"observation": known.observation, "count": known.count, "differs": list(known.differs)} for known in each]
            for each in found
        ]

    def change(self, call: "Callable[[Contexts], T]") -> Awaitable[T]:
        """Change contexts and answer when that is on disk."""
        return self.group.change(lambda: call(self.contexts))
