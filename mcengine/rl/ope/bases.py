"""Linear functions of the state and their ridge regressions: a table of whole numbers, or features and an intercept."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.logs import TrajectoryLog


@dataclasses.dataclass(frozen=True)
class Cells:
    """phi(s) one-hot. By counting: as many states as rows cost no more than a few."""

    index: Int[np.ndarray, "*rows"]
    size: int

    def at(self, rows: Any) -> "Cells":
        """Those of some rows, as NumPy indexes them."""
        return Cells(self.index[rows], self.size)

    def ridge(self, penalty: float) -> Callable[[Any], Float[np.ndarray, " size"]]:
        """targets -> (sum phi phi' + penalty)^-1 sum phi target: the sum of a cell over its count and the penalty."""
        counts = np.bincount(self.index, minlength=self.size) + penalty
        return lambda targets: np.bincount(self.index, weights=targets, minlength=self.size) / counts

    def values(self, coefficients: Float[np.ndarray, "size *more"]) -> Float[np.ndarray, "*rows_and_more"]:
        """phi(s)' coefficients."""
        return coefficients[self.index]


@dataclasses.dataclass(frozen=True)
class Features:
    """phi(s) as it is given; methods as those of `Cells`."""

    phi: Float[np.ndarray, "*rows size"]

    def at(self, rows: Any) -> "Features":
        """Those of some rows, as NumPy indexes them."""
        return Features(self.phi[rows])

    def ridge(self, penalty: float) -> Callable[[Any], Float[np.ndarray, " size"]]:
        """targets -> (sum phi phi' + penalty)^-1 sum phi target."""
        gram = self.phi.T @ self.phi + penalty * np.eye(self.phi.shape[-1])
        return lambda targets: np.linalg.solve(gram, self.phi.T @ targets)

    def values(self, coefficients: Float[np.ndarray, "size *more"]) -> Float[np.ndarray, "*rows_and_more"]:
        """phi(s)' coefficients."""
        return self.phi @ coefficients


def basis_of(log: TrajectoryLog) -> Cells | Features:
    """Cells of states that are whole numbers [n, T]; else features at mean square 1 and an intercept."""
    if log.states.ndim == 2:
        codes, index = np.unique(log.states, return_inverse=True)
        return Cells(index.reshape(log.states.shape), len(codes))
    # In float64, since pixels of eight bits have no squares.
    states = np.where(log.mask[..., None], log.states, 0).astype(np.float64)
    scale = np.sqrt(np.sum(states**2, axis=(0, 1)) / log.mask.sum())
    phi = states / np.where(scale > 0, scale, 1.0)
    return Features(np.concatenate([phi, np.ones((*phi.shape[:2], 1))], axis=-1))
