"""Autoencoder: a small network that learns to repeat usual records through a narrow middle, and fails on others.

    score = mean over fields j of (u_j - û_j)² / s_j

with the places u of a record's values, their reconstruction û, and the mean squared error s_j of field j in training
(at least 0.001), so that 1 is a usual record.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tocsin.detector import Scored, State
from tocsin.detectors.outlier.features import Normaliser
from tocsin.detectors.outlier.reasons import top_parts
from tocsin.detectors.outlier.spans import over_spans
from tocsin.errors import ModelError

EPOCHS = 60
_LEAST_ERROR = 1e-3


@dataclass
class Autoencoder:
    """A fitted network with tanh between its layers.

    weights: (in, out) and offsets: (out,) float64, by layer. scale: (d,) float64, each field's usual squared error.
    """

    normaliser: Normaliser
    weights: list[np.ndarray]
    offsets: list[np.ndarray]
    scale: np.ndarray

    @classmethod
    def fit(cls, normaliser: Normaliser, sample: pa.Table, seed: int) -> "Autoencoder":
        """Train the network on a sample of the rows."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        places = normaliser.places(sample).astype(np.float64)
        width = places.shape[1]
        layers = (max(2, width // 2), max(1, width // 4), max(2, width // 2))
        network = MLPRegressor(
            hidden_layer_sizes=layers, activation="tanh", max_iter=EPOCHS, n_iter_no_change=5, random_state=seed % 2**32
        )
        with warnings.catch_warnings():
            # The number of epochs is the bound; a network that could learn a little more is good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(places, places if width > 1 else places.ravel())
        made = cls(normaliser, list(network.coefs_), list(network.intercepts_), np.ones(width))
        made.scale = np.maximum(made._errors(places).mean(axis=0), _LEAST_ERROR)
        return made

    def score(self, batch: pa.Table, top: int, threads: int) -> Scored:
        """Score each row and name the fields that were reconstructed worst."""
        places = self.normaliser.places(batch).astype(np.float64)
        parts = np.empty(places.shape)

        def span(start: int, end: int) -> None:
            parts[start:end] = self._errors(places[start:end])

        over_spans(span, len(places), threads)
        return Scored(parts.mean(axis=1), self.normaliser.names, *top_parts(parts, top))

    def _errors(self, places: np.ndarray) -> np.ndarray:
        """Return the squared error of each field over what is usual for it: (n, d)."""
        x = places
        for i, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True)):
            x = _product(x, weight) + offset
            if i < len(self.weights) - 1:
                x = np.tanh(x)
        result: np.ndarray = (places - x) ** 2 / self.scale
        return result

    def state(self) -> State:
        """Return the arrays."""
        state: State = {"layers": len(self.weights), "scale": self.scale}
        for i, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True)):
            state[f"weight{i}"] = weight
            state[f"offset{i}"] = offset
        return state

    @classmethod
    def restore(cls, state: State, normaliser: Normaliser) -> "Autoencoder":
        """Take over the arrays. Raises ModelError when one is missing."""
        try:
            layers = range(int(state["layers"]))
            weights, offsets = ([np.asarray(state[f"{name}{i}"]) for i in layers] for name in ("weight", "offset"))
            return cls(normaliser, weights, offsets, np.asarray(state["scale"]))
        except KeyError as error:
            raise ModelError(f"the model lacks {error}; train again") from error


def _product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return x @ weight, added up in one order: a matrix library's rounding depends on the number of rows."""
    out = np.zeros((len(x), weight.shape[1]))
    for j in range(weight.shape[0]):
        out += x[:, j : j + 1] * weight[j]
    return out
