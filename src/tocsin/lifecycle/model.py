"""A served model: a detector and the calibration of its scores, kept as one state."""

from dataclasses import dataclass

from tocsin.detector import BatchDetector, State
from tocsin.errors import ModelError
from tocsin.verdict.calibration import Calibration

SEPARATOR = "/"


@dataclass(frozen=True)
class Model:
    """A fitted detector with the distribution of its own scores, and the name of its version."""

    detector: BatchDetector
    calibration: Calibration
    version: str = ""

    def state(self) -> State:
        """Return both states as one."""
        parts = {"detector": self.detector.state(), "calibration": self.calibration.state()}
        return {f"{part}{SEPARATOR}{key}": value for part, state in parts.items() for key, value in state.items()}


def restore(state: State, detector: BatchDetector, version: str = "") -> Model:
    """Take a model's state apart again, into an unfitted detector. Raises ModelError."""
    parts: dict[str, State] = {"detector": {}, "calibration": {}}
    for key, value in state.items():
        part, _, name = key.partition(SEPARATOR)
        if part not in parts:
            raise ModelError(f"model state has an unknown member {key!r}; train again with this version")
        parts[part][name] = value
    return Model(detector.restore(parts["detector"]), Calibration.restore(parts["calibration"]), version)
