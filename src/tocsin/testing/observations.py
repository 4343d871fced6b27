"""Observations of three components, protocol, port and service, always the same; and whether scores are."""

from dataclasses import fields

import numpy as np
import pyarrow as pa

from tocsin.detectors.novelty.scores import Scores

USUAL = (("tcp", "443", "ssl"), ("tcp", "80", "http"), ("udp", "53", "dns"), ("tcp", "22", "ssh"), ("icmp", "8", "-"))


def observations(start: int, stop: int, seed: int = 0) -> list[pa.Array]:
    """Return numbers start to stop of a stream in which few kinds are frequent, and every now and then one is new."""
    rows = [_observation(seed, number) for number in range(start, stop)]
    return [pa.array([row[index] for row in rows], pa.string()) for index in range(3)]


def same_scores(one: Scores, other: Scores) -> bool:
    """Tell whether scores are the same in every bit, and of the same observations."""
    numbers = (each.name for each in fields(Scores) if each.name != "columns")
    texts = [column.to_pylist() for column in one.columns] == [column.to_pylist() for column in other.columns]
    return texts and all(_same(getattr(one, name), getattr(other, name)) for name in numbers)


def _observation(seed: int, number: int) -> tuple[str, str, str]:
    rng = np.random.default_rng((seed, number))
    proto, port, service = USUAL[min(int(rng.exponential(1.2)), len(USUAL) - 1)]
    if rng.random() < 0.15:
        port = str(int(rng.pareto(0.7) * 50) % 65_536)
    if rng.random() < 0.03:
        service = "none"
    return proto, port, service


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
