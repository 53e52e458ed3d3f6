"""How the errors of many outputs go together: their covariance, and the error bar of a combination of them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine import numerics
from mcengine.inference.finalise import means, pairs
from mcengine.inference.intervals import student_interval
from mcengine.inference.spec import EstimateSpec
from mcengine.numerics.tracing import is_traced
from mcengine.summaries.columns import finite
from mcengine.summaries.summary import Summary

CHOICES = ("diagonal", "full", None)


def check_covariance(covariance: Any) -> None:
    """Raise unless it is one of the choices."""
    if covariance not in CHOICES:
        raise ValueError(f'estimate: covariance must be "diagonal", "full" or None, got {covariance!r}.')


class Combination(eqx.Module):
    """What was made of several outputs: `value`, `std_error` and `interval(level)`; NumPy float64 from a script."""

    value: Any
    std_error: Any
    num_units: Any

    def interval(self, level: float = 0.95) -> tuple[Any, Any]:
        """Two-sided Student-t interval (low, high) over units, of the structure of the value."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"interval: level must lie strictly between 0 and 1, got {level}.")
        if is_traced(self.value):
            raise ValueError("interval: inside jit, vmap and grad use value and std_error.")

        def of_leaf(value, std_error):
            units = np.asarray(self.num_units)[(...,) + (None,) * (np.ndim(value) - np.ndim(self.num_units))]
            return student_interval(value, std_error, units, level)

        sides = jax.tree.map(of_leaf, self.value, self.std_error)
        low, high = jax.tree.transpose(jax.tree.structure(self.value), jax.tree.structure((0, 0)), sides)
        return low, high


def covariance_matrix(summary: Summary, spec: EstimateSpec, xp: Any) -> Any:
    """Covariance of the estimates of all outputs, [..., K, K], from units.

    C_ij / (n (n - 1)) with C the centred cross products of n units; for a ratio those of the residuals w f_i - R_i w,
    over mean(w)^2. 0 where nothing was seen.
    """
    m, k = summary.moments, spec.num_outputs
    cross = m.cross[..., :k, :k]
    exponent = finite(m.exponent[..., :k], xp)
    if spec.self_normalised:
        mean = means(summary)
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


def linear_combination(
    value: Any, std_error: Any, coefficients: Any, summary: Summary, spec: EstimateSpec
) -> Combination:
    """sum_k c_k value_k with the error bar sqrt(c' C c). See `mc.Estimate.combination`."""
    c = _flat(coefficients, spec)
    values, errors = (_columns(tree, np.ndim(summary.stats.num_samples)) for tree in (value, std_error))
    total = values @ c
    if spec.covariance == "full":
        matrix = covariance_matrix(jax.tree.map(np.asarray, summary), spec, np)
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
    return Combination(total[()], error[()], np.asarray(summary.moments.count))


def delta_method(
    function: Callable[[Any], Any], value: Any, std_error: Any, summary: Summary, spec: EstimateSpec
) -> tuple[Any, Any]:
    """(function(outputs), its standard errors), leaf by leaf. See `mc.Estimate.function_of`."""
    batch = np.ndim(summary.stats.num_samples)
    if spec.covariance != "full" and spec.num_outputs > 1:
        raise ValueError(
            "function_of: how the errors of several outputs go together is known only after "
            'estimate(..., covariance="full").'
        )
    if isinstance(summary.stats.num_samples, jax.Array):
        return _delta_method(function, value, std_error, summary, spec, batch)
    with jax.enable_x64(True):
        value, std_error, summary = jax.tree.map(jnp.asarray, (value, std_error, summary))
        found = _delta_method(function, value, std_error, summary, spec, batch)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[()], found)


def _delta_method(
    function: Any, value: Any, std_error: Any, summary: Summary, spec: EstimateSpec, batch: int
) -> tuple[Any, Any]:
    columns, errors = (_columns(tree, batch, jnp) for tree in (value, std_error))
    full = spec.covariance == "full"
    matrix = covariance_matrix(summary, spec, jnp) if full else errors[..., None] ** 2

    def of_one(columns: Any, errors: Any, matrix: Any) -> tuple[Any, Any]:
        def flat(columns: Any) -> tuple[Any, Any]:
            found = function(spec.unflatten(columns, jnp))
            leaves = [jnp.asarray(leaf, columns.dtype) for leaf in jax.tree.leaves(found)]
            return jnp.concatenate([leaf.reshape(-1) for leaf in leaves]), found

        jacobian, found = jax.jacfwd(flat, has_aux=True)(columns)
        # Where nothing that it depends on was seen to vary, neither was it.
        seen = jnp.any(jnp.isfinite(errors)[None] & (jacobian != 0), axis=-1)
        variance = jnp.einsum("mi,ij,mj->m", jacobian, jnp.where(jnp.isfinite(matrix), matrix, 0.0), jacobian)
        error = jnp.where(seen, jnp.sqrt(jnp.maximum(variance, 0.0)), jnp.nan)
        leaves, treedef = jax.tree.flatten(found)
        sizes = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        parts = zip(jnp.split(error, sizes), leaves, strict=True)
        return found, jax.tree.unflatten(treedef, [part.reshape(np.shape(leaf)) for part, leaf in parts])

    for _ in range(batch):
        of_one = jax.vmap(of_one)
    return of_one(columns, errors, matrix)


def _flat(coefficients: Any, spec: EstimateSpec) -> np.ndarray:
    """Coefficients [K] from an array of K numbers, or from a tree like the value whose leaves broadcast to it."""
    like = jax.tree.unflatten(spec.treedef, [np.zeros(shape) for shape in spec.shapes])
    try:
        # A list of numbers may stand for an array.
        leaves = spec.treedef.flatten_up_to(coefficients)
        fitted = [
            np.broadcast_to(np.asarray(x, np.float64), shape) for x, shape in zip(leaves, spec.shapes, strict=True)
        ]
        return np.concatenate([leaf.reshape(-1) for leaf in fitted])
    except (TypeError, ValueError) as error:
        shapes = jax.tree.map(np.shape, like)
        raise ValueError(f"combination: coefficients must be of the value's structure and shapes {shapes}.") from error


def _columns(tree: Any, batch: int, xp: Any = np) -> Any:
    leaves = jax.tree.leaves(tree)
    return xp.concatenate([leaf.reshape(*leaf.shape[:batch], -1) for leaf in leaves], axis=-1)
