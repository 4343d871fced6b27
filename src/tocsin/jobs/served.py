"""The models that are served: loaded from the registry, with what the hybrid algorithm looks up beside them."""

import logging

import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.detectors.outlier.detector import OutlierDetector
from tocsin.detectors.outlier.fingerprint import FingerprintProfiles, load_profiles
from tocsin.errors import SettingsError
from tocsin.jobs.work import Work
from tocsin.lifecycle.model import Model, restore
from tocsin.lifecycle.registry import Registry

log = logging.getLogger(__name__)


def load_production(work: Work, registry: Registry, proto: str) -> Model | None:
    """Return the model that is served for a protocol, or None. Raises ModelError when it cannot be restored."""
    version = registry.production(proto)
    if version is None:
        return None
    detector = attach_context(work, OutlierDetector(version.algorithm, top_reasons=work.settings.scoring.top_reasons))
    model = restore(registry.load(proto, version), detector, version.name)
    told = {"algorithm": version.algorithm, "rows": version.rows, "dates": len(version.dates)}
    log.debug("loaded model %s %s", proto, version.name, extra=told)
    return model


def attach_context(work: Work, detector: OutlierDetector) -> OutlierDetector:
    """Give a hybrid detector the fingerprint profiles and the address reputation that there are."""
    if detector.algorithm == "hybrid":
        detector.fingerprints = fingerprint_profiles(work)
        detector.reputation = reputation(work)
    return detector


def fingerprint_profiles(work: Work) -> FingerprintProfiles | None:
    """Return the hosts' fingerprint profiles, or None where they are off or not built yet."""
    return load_profiles(work.store, work.domain) if work.settings.fingerprint.enabled else None


def reputation(work: Work) -> pa.Table | None:
    """Return the table of bad addresses of `scoring.reputation_file`, or None without one. Raises SettingsError."""
    path = work.settings.scoring.reputation_file
    if path is None:
        return None
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise SettingsError(f"scoring.reputation_file: {path} is no readable Parquet file: {error}") from error
