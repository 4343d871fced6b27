"""Thresholds: which are told with every record, and which only when a window is over.

A *growing* condition is made of comparisons `name >= number` (or `>`) of growing reducers, joined by AND and OR: once
true it stays true, so it can be judged early, and the answer does not depend on the order in which records come. Any
other SQL condition (a ratio, an average) is judged when the window ends.
"""

import ast
from dataclasses import dataclass

GROWING = frozenset({"sum", "count", "max", "unique", "hll_unique"})
"""Reducers that only grow (a sum as long as what is added is not negative)."""


@dataclass(frozen=True)
class Guard:
    """One comparison of a growing reducer with a number. strict: `>` instead of `>=`."""

    name: str
    least: float
    strict: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a value passes."""
        return value > self.least if self.strict else value >= self.least


@dataclass(frozen=True)
class Condition:
    """When a key's results are too much.

    sql: the condition (or, with levels, the measured expression) over reducer names and key parts.
    growing: a tree of "and"/"or" over guards where it is growing, else None. For levels the tree is one guard whose
        `least` is replaced by each level in turn.
    """

    sql: str
    growing: "Growing | None" = None


@dataclass(frozen=True)
class Growing:
    """A growing condition: `op` is "guard", "and" or "or"."""

    op: str
    guard: Guard | None = None
    parts: tuple["Growing", ...] = ()

    def guards(self) -> tuple[Guard, ...]:
        """Every guard in it, left to right."""
        if self.guard is not None:
            return (self.guard,)
        return tuple(guard for part in self.parts for guard in part.guards())


def growing(sql: str, kinds: dict[str, str]) -> Growing | None:
    """Read a condition as a growing one, or return None. kinds: reducer name -> reducer kind."""
    try:
        tree = ast.parse(sql.strip().replace("\n", " "), mode="eval").body
    except SyntaxError:
        try:
            tree = ast.parse(_lower_words(sql), mode="eval").body
        except SyntaxError:
            return None
    return _read(tree, kinds)


def _lower_words(sql: str) -> str:
    words = {"AND": "and", "OR": "or"}
    return " ".join(words.get(word.upper(), word) for word in sql.split())


def _read(node: ast.expr, kinds: dict[str, str]) -> Growing | None:
    if isinstance(node, ast.BoolOp):
        parts = [_read(value, kinds) for value in node.values]
        if any(part is None for part in parts):
            return None
        return Growing("and" if isinstance(node.op, ast.And) else "or", parts=tuple(part for part in parts if part))
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.ops[0], ast.GtE | ast.Gt):
        return None
    left, right = node.left, node.comparators[0]
    if not isinstance(left, ast.Name) or kinds.get(left.id) not in GROWING or not isinstance(right, ast.Constant):
        return None
    if isinstance(right.value, bool) or not isinstance(right.value, int | float):
        return None
    return Growing("guard", Guard(left.id, float(right.value), isinstance(node.ops[0], ast.Gt)))
