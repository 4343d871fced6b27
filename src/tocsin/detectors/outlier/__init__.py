"""Flows unlike the rest, and hosts unlike the others and unlike themselves.

from tocsin.detectors.outlier import OutlierDetector

model = OutlierDetector().fit([table])
scored = model.score(table)
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "OutlierDetector": "tocsin.detectors.outlier.detector",
    "FieldSpec": "tocsin.detectors.outlier.fields",
    "Normaliser": "tocsin.detectors.outlier.features",
    "flow_fields": "tocsin.detectors.outlier.fields",
    "infer_fields": "tocsin.detectors.outlier.fields",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the compiler is not started before."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
