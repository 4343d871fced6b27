"""A context as one file: what is exported, imported, and kept at a checkpoint."""

import io
import zipfile

from tocsin.detector import dump_state, load_state
from tocsin.detectors.novelty.model import NoveltyModel
from tocsin.errors import ModelError

_AT_EASE = 2**28
"""Bytes that any file may take in memory."""

_MOST_TIMES = 100
"""How many times its own size a larger one may take; about ten are usual."""


def dump(model: NoveltyModel, *, compressed: bool = True) -> bytes:
    """Write a context as one archive of arrays and JSON; not compressed it is written faster."""
    return dump_state(model.state(), compressed=compressed)


def load(data: bytes) -> NoveltyModel:
    """Read what `dump` wrote; every score is the same. Raises ModelError when it is damaged or something else."""
    most = max(_AT_EASE, _MOST_TIMES * len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(each.file_size for each in archive.infolist())
    except (ValueError, RuntimeError, OSError, zipfile.BadZipFile):
        size = 0  # no archive: told below
    if size > most:
        raise ModelError(f"this context would take {size:,} bytes, more than the {most:,} that a file of its size may")
    return NoveltyModel.of(load_state(data))
