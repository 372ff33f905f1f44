"""Linear weights from labelled features, learned by least squares; any task. Arrays in, weights out.

Sums of squares are kept for each family of data, so that leaving one out costs a subtraction and a solution, not
another pass over the rows. Ridge regression (Hoerl and Kennard, Technometrics 12, 1970) on labels of -1 and 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from heed.errors import InputError

_CHUNK = 4096
"""Rows multiplied at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """``features @ weights + bias``."""

    weights: Float[np.ndarray, " F"]
    bias: float

    def __call__(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        """The value of each row: about -1 or 1."""
        return np.asarray(features @ self.weights.astype(features.dtype) + self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """The sums of labelled rows, family by family; features are standardised with ``mean`` and ``scale``."""

    mean: Float[np.ndarray, " F"]
    scale: Float[np.ndarray, " F"]
    sums: dict[str, tuple[Float[np.ndarray, "F+1 F+1"], Float[np.ndarray, " F+1"], float]]
    all: tuple[Float[np.ndarray, "F+1 F+1"], Float[np.ndarray, " F+1"], float]

    @classmethod
    def of(
        cls,
        features: Float[np.ndarray, "N F"],
        labels: Int[np.ndarray, " N"],
        weights: Float[np.ndarray, " N"],
        families: np.ndarray,
    ) -> "Ridge":
        """Sum the rows; ``labels`` are 0 and 1, ``weights`` say how much a row counts.

        Raises
        ------
        InputError
            If a feature is not finite, or one class is missing.
        """
        if not np.isfinite(features).all():
            row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
            raise InputError(f"expected finite features, found NaN or infinity in row {row}: leave it out")
        if set(np.unique(labels)) != {0, 1}:
            raise InputError(f"expected rows of both classes, found {sorted(set(labels.tolist()))}: add the other")
        mean = features.mean(0, dtype=np.float64)
        scale = features.std(0, dtype=np.float64) + 1e-3
        size = features.shape[1] + 1
        sums, gram, moment = {}, np.zeros((size, size)), np.zeros(size)
        for family in np.unique(families):
            own = np.flatnonzero(families == family)
            found = _sums((mean, scale), features[own], labels[own], weights[own])
            sums[str(family)] = found
            gram += found[0]
            moment += found[1]
        return cls(mean, scale, sums, (gram, moment, float(weights.sum())))

    def solve(
        self, strength: float, *, without: str | None = None, columns: Int[np.ndarray, " C"] | None = None
    ) -> Linear:
        """The weights that fit all families but one, on some of the columns (the others are 0).

        ``strength`` is the penalty on the squared weights of standardised features, per unit of row weight.
        """
        left = self.sums.get(without, (0.0, 0.0, 0.0)) if without else (0.0, 0.0, 0.0)
        total = self.all[2] - left[2]
        used = np.arange(len(self.mean)) if columns is None else columns
        index = np.append(used, len(self.mean))
        matrix, moment = (self.all[0] - left[0])[np.ix_(index, index)] / total, self.all[1] - left[1]
        matrix[np.arange(len(used)), np.arange(len(used))] += strength
        found = np.linalg.solve(matrix, moment[index] / total)
        weights = np.zeros(len(self.mean))
        weights[used] = found[:-1] / self.scale[used]
        return Linear(weights, float(found[-1] - weights @ self.mean))


def _sums(
    norm: tuple[np.ndarray, np.ndarray], features: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    size = features.shape[1] + 1
    gram, moment = np.zeros((size, size)), np.zeros(size)
    for first in range(0, len(features), _CHUNK):
        rows = slice(first, first + _CHUNK)
        x = np.ones((len(features[rows]), size))
        x[:, :-1] = (features[rows] - norm[0]) / norm[1]
        weighed = x * weights[rows, None]
        gram += weighed.T @ x
        moment += weighed.T @ (labels[rows] * 2.0 - 1.0)
    return gram, moment, float(weights.sum())
