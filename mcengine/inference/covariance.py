"""How the errors of many outputs vary together: their covariance, and the error bar of a combination of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PyTree

from mcengine import numerics
from mcengine.inference.intervals import student_interval
from mcengine.inference.residuals import pairs, residuals_of
from mcengine.inference.result import Result
from mcengine.inference.spec import EstimateSpec
from mcengine.inference.text import value_lines
from mcengine.numerics.arrays import AnyArray, Numbers, NumberTree, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.summary import Summary

CHOICES = ("diagonal", "full", None)


def check_covariance(covariance: str | None) -> None:
    """Raise unless it is one of the choices."""
    if covariance not in CHOICES:
        raise ValueError(f'estimate: covariance must be "diagonal", "full" or None, got {covariance!r}.')


class FlatOutputs(NamedTuple):
    """The K outputs of an estimate in one array each, and the summary that says how their errors vary together."""

    values: Float[AnyArray, "*batch K"]
    std_errors: Float[AnyArray, "*batch K"]
    status_codes: Integer[AnyArray, "*batch K"]
    summary: Summary
    spec: EstimateSpec

    @property
    def num_batch_axes(self) -> int:
        """How many leading axes are those of a batch."""
        return np.ndim(self.values) - 1


class Combination(Result):
    """A function of several outputs: `value`, `std_error`, `interval(level)`; NumPy float64 from a script.

    The interval is Student-t over units. `status` is the most severe one of the outputs that it depends on.
    """

    value: NumberTree
    std_error: NumberTree
    num_units: Numbers
    status_codes: Numbers
    seconds: None = None

    @property
    def _num_batch_axes(self) -> int:
        return np.ndim(self.num_units)

    @property
    def status_code(self) -> Numbers:
        """The most severe `Status` code of the outputs."""
        return self.status_codes

    def _interval(self, level: float) -> tuple[NumberTree, NumberTree]:
        def of_leaf(value: Numbers, std_error: Numbers) -> tuple[Numbers, Numbers]:
            units = np.asarray(self.num_units)[(...,) + (None,) * (np.ndim(value) - np.ndim(self.num_units))]
            return student_interval(value, std_error, units, level)

        sides = jax.tree.map(of_leaf, self.value, self.std_error)
        low, high = jax.tree.transpose(jax.tree.structure(self.value), jax.tree.structure((0, 0)), sides)
        return low, high

    def _entries(self) -> dict[str, NumberTree | list]:
        low, high = self.interval()
        return {
            "value": self.value, "std_error": self.std_error, "low": low, "high": high, "num_units": self.num_units,
        }  # fmt: skip

    def _lines(self) -> list[str]:
        codes = jax.tree.map(lambda value: np.full(np.shape(value), self.status_codes), self.value)
        return value_lines(self, codes)


def covariance_matrix(summary: Summary, spec: EstimateSpec) -> Float[AnyArray, "*batch K K"]:
    """Covariance of the estimates of all outputs, from units.

    C_ij / (n (n - 1)), with C the sums of products of the residuals of n units; for ratios over mean(w)^2. 0 where
    nothing contributes.
    """
    m = summary.moments
    residuals = residuals_of(summary, spec)
    products, exponent = residuals.products(), finite(m.exponent[..., : spec.num_outputs])
    if residuals.denominator is not None:
        products = products / residuals.denominator[..., None] ** 2
        exponent = exponent - finite(m.exponent[..., -1:])
    scale = numerics.two_to(exponent)
    return scale[..., :, None] * scale[..., None, :] * products / pairs(m)[..., None, None]


def linear_combination(coefficients: NumberTree, outputs: FlatOutputs) -> Combination:
    """sum_k c_k value_k with the standard error sqrt(c' C c). See `mc.Estimate.combination`."""
    spec = outputs.spec
    c = _flat_coefficients(coefficients, spec)
    if spec.covariance == "full":
        matrix = covariance_matrix(jax.tree.map(np.asarray, outputs.summary), spec)
        # Where none of the outputs was seen to vary, the error of their combination is unknown too.
        seen = np.any(np.isfinite(outputs.std_errors) & (c != 0), axis=-1)
        variance = np.einsum("i,...ij,j->...", c, matrix, c)
        error = np.where(seen, np.sqrt(np.maximum(variance, 0.0)), np.nan)
    elif np.count_nonzero(c) == 1:
        error = np.sum(np.where(c != 0, np.abs(c) * outputs.std_errors, 0.0), axis=-1)
    else:
        raise ValueError(_needs_covariance("combination"))
    codes = np.max(np.where(c != 0, outputs.status_codes, 0), axis=-1)
    units = np.asarray(outputs.summary.moments.count)
    value = (outputs.values @ c)[()]
    return Combination(value=value, std_error=error[()], num_units=units, status_codes=codes[()])


def delta_method(function: Callable[[PyTree], PyTree], outputs: FlatOutputs) -> Combination:
    """`function` of the outputs and its standard errors, leaf by leaf. See `mc.Estimate.function_of`."""
    spec = outputs.spec
    if spec.covariance != "full" and spec.num_outputs > 1:
        raise ValueError(_needs_covariance("function_of"))
    count, codes = outputs.summary.moments.count, outputs.status_codes.max(axis=-1)
    if namespace(outputs.summary.stats.num_samples) is jnp:
        value, error = _delta_method(function, outputs)
        return Combination(value=value, std_error=error, num_units=count, status_codes=codes)
    with jax.enable_x64(True):
        found = _delta_method(function, jax.tree.map(jnp.asarray, outputs))
        value, error = jax.tree.map(lambda leaf: np.asarray(leaf)[()], found)
        return Combination(value=value, std_error=error, num_units=count, status_codes=codes)


def _needs_covariance(owner: str) -> str:
    return (
        f"{owner}: how the errors of several outputs vary together is known only after "
        'estimate(..., covariance="full").'
    )


def _delta_method(function: Callable[[PyTree], PyTree], outputs: FlatOutputs) -> tuple[NumberTree, NumberTree]:
    """(values, standard errors) of a function, of JAX arrays."""
    spec, errors = outputs.spec, outputs.std_errors
    full = spec.covariance == "full"
    matrix = covariance_matrix(outputs.summary, spec) if full else errors[..., None] ** 2

    def of_one(
        values: Float[Array, " K"], errors: Float[Array, " K"], matrix: Float[Array, "K K"]
    ) -> tuple[PyTree, PyTree]:
        def flat(values: Float[Array, " K"]) -> tuple[Float[Array, " M"], PyTree]:
            found = function(spec.unflatten(values))
            leaves = [jnp.asarray(leaf, values.dtype) for leaf in jax.tree.leaves(found)]
            return jnp.concatenate([leaf.reshape(-1) for leaf in leaves]), found

        jacobian, found = jax.jacfwd(flat, has_aux=True)(values)
        # Where none of the outputs that it depends on was seen to vary, its error is unknown.
        seen = jnp.any(jnp.isfinite(errors)[None] & (jacobian != 0), axis=-1)
        variance = jnp.einsum("mi,ij,mj->m", jacobian, jnp.where(jnp.isfinite(matrix), matrix, 0.0), jacobian)
        error = jnp.where(seen, jnp.sqrt(jnp.maximum(variance, 0.0)), jnp.nan)
        leaves, treedef = jax.tree.flatten(found)
        sizes = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        pieces = zip(jnp.split(error, sizes), leaves, strict=True)
        return found, jax.tree.unflatten(treedef, [piece.reshape(np.shape(leaf)) for piece, leaf in pieces])

    for _ in range(outputs.num_batch_axes):
        of_one = jax.vmap(of_one)
    return of_one(*map(jnp.asarray, (outputs.values, errors, matrix)))


def _flat_coefficients(coefficients: NumberTree, spec: EstimateSpec) -> Float[np.ndarray, " K"]:
    """Coefficients from an array of K numbers, or from a tree like the value whose leaves broadcast to it."""
    try:
        # A list of numbers may stand for an array.
        leaves = spec.treedef.flatten_up_to(coefficients)
        fitted = [
            np.broadcast_to(np.asarray(x, np.float64), shape) for x, shape in zip(leaves, spec.shapes, strict=True)
        ]
        return np.concatenate([leaf.reshape(-1) for leaf in fitted])
    except (TypeError, ValueError) as error:
        shapes = jax.tree.unflatten(spec.treedef, list(spec.shapes))
        raise ValueError(f"combination: coefficients must be of the value's structure and shapes {shapes}.") from error
