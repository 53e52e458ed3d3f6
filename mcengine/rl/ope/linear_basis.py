"""Bases of linear functions of the state, with their ridge regressions: one-hot codes, or features and an intercept."""

import abc
import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from mcengine.rl.ope.logs import TrajectoryLog

# Chosen rows: a mask of the rows, or an index of NumPy's with one entry per axis.
Rows = Bool[np.ndarray, "..."] | tuple[Bool[np.ndarray, "..."], int]
Solver = Callable[[Float[np.ndarray, " rows"]], Float[np.ndarray, " size"]]


class LinearBasis(abc.ABC):
    """phi(s) at rows of a log. A function of the state is phi(s)' coefficients."""

    @abc.abstractmethod
    def at(self, rows: Rows) -> "LinearBasis":
        """The basis at some of the rows."""

    @abc.abstractmethod
    def ridge(self, penalty: float) -> Solver:
        """The function from targets, [rows], to (sum phi phi' + penalty)^-1 sum phi target, [size]."""

    @abc.abstractmethod
    def values(self, coefficients: Float[np.ndarray, "size *more"]) -> Float[np.ndarray, "..."]:
        """phi(s)' coefficients, [*rows, *more]."""


@dataclasses.dataclass(frozen=True)
class OneHot(LinearBasis):
    """One-hot phi, given by the index of its 1. Sums by counting, so there may be as many states as rows."""

    index: Int[np.ndarray, "*rows"]
    size: int

    def at(self, rows: Rows) -> "OneHot":
        return OneHot(self.index[rows], self.size)

    def ridge(self, penalty: float) -> Solver:
        counts = np.bincount(self.index, minlength=self.size) + penalty
        return lambda targets: np.bincount(self.index, weights=targets, minlength=self.size) / counts

    def values(self, coefficients: Float[np.ndarray, "size *more"]) -> Float[np.ndarray, "..."]:
        return coefficients[self.index]


@dataclasses.dataclass(frozen=True)
class Features(LinearBasis):
    """phi given as an array."""

    phi: Float[np.ndarray, "*rows size"]

    def at(self, rows: Rows) -> "Features":
        return Features(self.phi[rows])

    def ridge(self, penalty: float) -> Solver:
        gram = self.phi.T @ self.phi + penalty * np.eye(self.phi.shape[-1])
        return lambda targets: np.linalg.solve(gram, self.phi.T @ targets)

    def values(self, coefficients: Float[np.ndarray, "size *more"]) -> Float[np.ndarray, "..."]:
        return self.phi @ coefficients


def basis_of(log: TrajectoryLog) -> LinearBasis:
    """`OneHot` if states are whole numbers, [n, T]; else features scaled to mean square 1, and an intercept."""
    assert log.states is not None
    if log.states.ndim == 2:
        codes, index = np.unique(log.states, return_inverse=True)
        return OneHot(index.reshape(log.states.shape), len(codes))
    # In float64, because the squares of 8-bit pixels overflow.
    states = np.where(log.mask[..., None], log.states, 0).astype(np.float64)
    scale = np.sqrt(np.sum(states**2, axis=(0, 1)) / log.mask.sum())
    phi = states / np.where(scale > 0, scale, 1.0)
    return Features(np.concatenate([phi, np.ones((*phi.shape[:2], 1))], axis=-1))
