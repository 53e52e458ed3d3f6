"""Legendre polynomials as control variates of any integral over a finite box: their integrals are 0."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import MAX_CONTROLS, Controls
from mcengine.numerics.values import Scalar, as_parameter, concrete
from mcengine.problems.integral import Integral


class Legendre(eqx.Module):
    """h(x) = P_k(s_i), k = 1..degree, for every coordinate i; s_i goes from -1 to 1 across the box."""

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)
    degree: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "degree ..."]:
        s = 2.0 * (x - self.lower) / (self.upper - self.lower) - 1.0
        previous, last, polynomials = jnp.ones_like(s), s, [s]
        for k in range(1, self.degree):
            # Bonnet: (k + 1) P_(k+1) = (2 k + 1) s P_k - k P_(k-1).
            previous, last = last, ((2 * k + 1) * s * last - k * previous) / (k + 1)
            polynomials.append(last)
        return jnp.stack(polynomials)


def legendre(problem: Integral, degree: Scalar | None = None, pilot: int | None = None) -> Controls:
    """The Legendre polynomials of each coordinate up to `degree`: they remove the smooth part of f along each axis.

    The interactions of coordinates remain, and everything too steep for the degree.

    **Arguments:** `problem` over a finite box; `degree`, by default the largest one up to 8 that gives at most 16
    controls; `pilot` as in `Controls`.

    **Raises:** `TypeError` for a problem that is not an `Integral`; `ValueError` for an infinite box and for too many
    controls.
    """
    if not isinstance(problem, Integral):
        raise TypeError(f"legendre: the problem must be an Integral, not {type(problem).__name__}.")
    limits = [concrete(limit) for limit in (problem.lower, problem.upper)]
    if any(limit is not None and not np.all(np.isfinite(limit)) for limit in limits):
        raise ValueError("legendre: the box must be finite; polynomials have no mean over an infinite one.")
    dim = max(problem.lower.size, 1)
    if degree is None:
        degree = max(1, min(8, MAX_CONTROLS // dim))
    if isinstance(degree, bool) or int(degree) != degree or not 1 <= degree * dim <= MAX_CONTROLS:
        raise ValueError(
            f"legendre: degree must be a whole number with 1 to {MAX_CONTROLS} polynomials over {dim} coordinates, got "
            f"{degree!r}."
        )
    degree = int(degree)
    means = np.zeros((degree, *problem.lower.shape))
    return Controls(Legendre(problem.lower, problem.upper, degree), means, pilot)
