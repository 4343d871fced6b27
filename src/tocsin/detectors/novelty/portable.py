"""A context as one file: what is exported, imported, and kept at a checkpoint."""

from tocsin.detector import dump_state, load_state
from tocsin.detectors.novelty.model import NoveltyModel


def dump(model: NoveltyModel, *, compressed: bool = True) -> bytes:
    """Write a context as one archive of arrays and JSON; not compressed it is written faster."""
    return dump_state(model.state(), compressed=compressed)


def load(data: bytes) -> NoveltyModel:
    """Read what `dump` wrote; every score is the same. Raises ModelError when it is damaged or something else."""
    return NoveltyModel.of(load_state(data))
