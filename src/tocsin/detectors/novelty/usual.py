"""What would have been usual in the place of what was novel."""

from collections.abc import Sequence

import pyarrow as pa

from tocsin.detectors.novelty.known import Known
from tocsin.detectors.novelty.model import NoveltyModel

LOOKED_AT = 32
"""Known observations among which what is usual is looked for."""

_NONE = "\x00none"
"""A value that is in no context: what stands in its place has nothing in common with anything there."""


def usual_beside(model: NoveltyModel, observation: Sequence[str], component: int) -> list[Known]:
    """Return known observations that have another value in a component and are otherwise most like this one.

    Those come first that agree with it in the most components before that one, which it is judged by.
    """
    asked = [_NONE if at == component else value for at, value in enumerate(observation)]
    (found,) = model.nearest([pa.array([value], pa.string()) for value in asked], LOOKED_AT)
    others = [known for known in found if known.observation[component] != observation[component]]
    return sorted(others, key=lambda known: sum(at < component for at in known.differs))
