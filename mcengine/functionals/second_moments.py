"""Variances and covariances of what the integrand returns, from the same samples."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from mcengine import numerics
from mcengine.functionals.protocol import Functional, Scalar, check_scalar, pick_output
from mcengine.inference.derived import derived_estimate
from mcengine.inference.estimate import Estimate


class Variance(Functional):
    """Var_p[f(X)] of every output, with an error bar by the delta method over units.

    (mean(w f^2) - mean(w f)^2 / mean(w)) / E[1], biased by O(1/n). Dividing by the mean weight makes it independent of
    the location of f. Of an `Integral` it is the variance of f(X) with X uniform on the box, whose volume E[1] must be
    finite.

    **Arguments:**

    - `output`: one entry of what the integrand returns (a key, an index); all of it by default.

    The columns are centred at a rough mean from 256 samples, so that float32 keeps its digits. Inside a trace they are
    not: subtract a number near the mean from f there, where the mean is more than ten standard deviations from 0.
    """

    needs_covariance = True
    is_centred = True

    output: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)
    centre: PyTree = eqx.field(default=None, kw_only=True)

    def columns(self, value: PyTree) -> tuple[PyTree, None]:
        """(1, f and f^2; None)."""
        f = _less(pick_output(value, self.output, "Variance"), self.centre)
        return {"one": _as_float(1.0), "first": f, "second": f, "product": jax.tree.map(jnp.square, f)}, None

    def to_centre(self, value: PyTree) -> PyTree:
        """The output."""
        return jax.tree.map(_as_float, pick_output(value, self.output, "Variance"))

    def finish(self, columns: Estimate, volume: Scalar = 1.0) -> Estimate:
        """The variance of every output."""
        return _second_moment("Variance", columns, volume)


class Covariance(Functional):
    """Cov_p[f(X), g(X)] of two outputs of the integrand, with an error bar by the delta method over units.

    (mean(w f g) - mean(w f) mean(w g) / mean(w)) / E[1], biased by O(1/n); see `Variance`.

    **Arguments:**

    - `first` f and `second` g: entries of what the integrand returns (a key, an index), of one shape.
    """

    needs_covariance = True
    is_centred = True

    first: str | int | tuple[int, ...] = eqx.field(static=True, default=0)
    second: str | int | tuple[int, ...] = eqx.field(static=True, default=1)
    centre: PyTree = eqx.field(default=None, kw_only=True)

    def columns(self, value: PyTree) -> tuple[PyTree, None]:
        """(1, f, g and f g; None)."""
        f, g = _less(self.to_centre(value), self.centre)
        return {"one": _as_float(1.0), "first": f, "second": g, "product": f * g}, None

    def to_centre(self, value: PyTree) -> PyTree:
        """Both outputs."""
        both = tuple(pick_output(value, entry, "Covariance") for entry in (self.first, self.second))
        for output, entry in zip(both, (self.first, self.second), strict=True):
            check_scalar(output, f"Covariance: output {entry!r} must be one number")
        return jax.tree.map(_as_float, both)

    def finish(self, columns: Estimate, volume: Scalar = 1.0) -> Estimate:
        """The covariance of the two outputs."""
        return _second_moment("Covariance", columns, volume)


def _as_float(value: Array | float) -> Array:
    return jnp.asarray(value, numerics.float_dtype())


def _less(value: PyTree, centre: PyTree) -> PyTree:
    value = jax.tree.map(_as_float, value)
    return value if centre is None else jax.tree.map(lambda f, c: f - jnp.asarray(c, f.dtype), value, centre)


def _second_moment(owner: str, columns: Estimate, volume: Scalar) -> Estimate:
    """E[f g] - E[f] E[g] / E[1] over E[1], from the means of 1, f, g and f g."""
    if isinstance(volume, float) and not volume < jnp.inf:
        raise ValueError(
            f"{owner}: of an Integral it is that of f(X) with X uniform on the box, which has infinite sides here: "
            "give limits that are finite, or an Expectation."
        )

    def centred_product(means: PyTree) -> PyTree:
        def of_output(product: Array, f: Array, g: Array) -> Array:
            return (product - f * g / means["one"]) / volume

        return jax.tree.map(of_output, means["product"], means["first"], means["second"])

    return derived_estimate(columns, centred_product, ("first", "second", "product"))
