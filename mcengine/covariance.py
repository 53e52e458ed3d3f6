"""How the errors of many outputs go together: their covariance, and the error bar of a combination of them."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from mcengine import numerics
from mcengine.columns import finite
from mcengine.diagnostics import student_interval
from mcengine.moments import Row
from mcengine.recipe import Recipe, means, pairs

CHOICES = ("diagonal", "full", None)


def check_covariance(covariance: Any) -> None:
    """Raise unless it is one of the choices."""
    if covariance not in CHOICES:
        raise ValueError(f'estimate: covariance must be "diagonal", "full" or None, got {covariance!r}.')


class Combination(eqx.Module):
    """A sum of outputs with known coefficients: `value`, `std_error` and `interval(level)`, NumPy float64."""

    value: Any
    std_error: Any
    num_units: Any

    def interval(self, level: float = 0.95) -> tuple[Any, Any]:
        """Two-sided Student-t interval (low, high) over units."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"interval: level must lie strictly between 0 and 1, got {level}.")
        return student_interval(self.value, self.std_error, self.num_units, level)


def covariance_matrix(row: Row, recipe: Recipe, xp: Any) -> Any:
    """Covariance of the estimates of all outputs, [..., K, K], from units.

    C_ij / (n (n - 1)) with C the centred cross products of n units; for a ratio those of the residuals w f_i - R_i w,
    over mean(w)^2. 0 where nothing was seen.
    """
    m, k = row.moments, recipe.num_outputs
    cross = m.cross[..., :k, :k]
    exponent = finite(m.exponent[..., :k], xp)
    if recipe.self_normalised:
        mean = means(row)
        mean_w = xp.where(mean[..., -1:] != 0, mean[..., -1:], 1.0)
        ratio = mean[..., :k] / mean_w
        with_w = m.cross[..., :k, -1]
        cross = (
            cross
            - ratio[..., :, None] * with_w[..., None, :]
            - with_w[..., :, None] * ratio[..., None, :]
            + ratio[..., :, None] * ratio[..., None, :] * m.m2[..., -1, None, None]
        ) / mean_w[..., None] ** 2
        exponent = exponent - finite(m.exponent[..., -1:], xp)
    scale = numerics.two_to(exponent, xp)
    return scale[..., :, None] * scale[..., None, :] * cross / pairs(m, xp)[..., None, None]


def combine(value: Any, std_error: Any, coefficients: Any, row: Row, recipe: Recipe) -> Combination:
    """sum_k c_k value_k with the error bar sqrt(c' C c). See `mc.Estimate.combination`."""
    c = _flat(coefficients, recipe)
    values, errors = (_columns(tree, np.ndim(row.stats.num_samples)) for tree in (value, std_error))
    total = values @ c
    if recipe.covariance == "full":
        matrix = covariance_matrix(jax.tree.map(np.asarray, row), recipe, np)
        # Where no output of it was seen to vary, neither was the combination.
        seen = np.any(np.isfinite(errors) & (c != 0), axis=-1)
        variance = np.einsum("i,...ij,j->...", c, matrix, c)
        error = np.where(seen, np.sqrt(np.maximum(variance, 0.0)), np.nan)
    elif np.count_nonzero(c) == 1:
        error = np.sum(np.where(c != 0, np.abs(c) * errors, 0.0), axis=-1)
    else:
        raise ValueError(
            "combination: how the errors of several outputs go together is known only after "
            'estimate(..., covariance="full").'
        )
    return Combination(total[()], error[()], np.asarray(row.moments.count))


def _flat(coefficients: Any, recipe: Recipe) -> np.ndarray:
    """Coefficients [K] from an array of K numbers, or from a tree like the value whose leaves broadcast to it."""
    like = jax.tree.unflatten(recipe.treedef, [np.zeros(shape) for shape in recipe.shapes])
    leaves, treedef = jax.tree.flatten(coefficients)
    if treedef == recipe.treedef:
        try:
            fitted = [
                np.broadcast_to(np.asarray(x, np.float64), shape)
                for x, shape in zip(leaves, recipe.shapes, strict=True)
            ]
            return np.concatenate([leaf.reshape(-1) for leaf in fitted])
        except ValueError:
            pass
    shapes = jax.tree.map(np.shape, like)
    raise ValueError(f"combination: coefficients must be of the value's structure and shapes {shapes}.")


def _columns(tree: Any, batch: int) -> np.ndarray:
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(*leaf.shape[:batch], -1) for leaf in leaves], axis=-1)
