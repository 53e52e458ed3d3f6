"""Legendre polynomials as controls of any integral over a finite box: their integrals are 0."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import MAX_CONTROLS, Controls
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.integral import Integral


class Legendre(eqx.Module):
    """h(x) = P_k(s_i), k = 1..degree, for every coordinate i, with s from -1 to 1 across the box."""

    lower: Float[Array, "..."] = eqx.field(converter=as_parameter)
    upper: Float[Array, "..."] = eqx.field(converter=as_parameter)
    degree: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "degree ..."]:
        s = 2.0 * (x - self.lower) / (self.upper - self.lower) - 1.0
        before, last, found = jnp.ones_like(s), s, [s]
        for k in range(1, self.degree):
            # Bonnet: (k + 1) P_(k+1) = (2 k + 1) s P_k - k P_(k-1).
            before, last = last, ((2 * k + 1) * s * last - k * before) / (k + 1)
            found.append(last)
        return jnp.stack(found)


def legendre(problem: Integral, degree=None, pilot: int | None = None) -> Controls:
    """Polynomials of each coordinate up to `degree`, orthogonal, of integral 0: the smooth part of f along each axis.

    What they leave is what f does where coordinates meet, and whatever is too steep for the degree. By default the
    degree is the largest, up to 8, that gives no more than the 16 controls that there may be.

    **Raises:** `TypeError` for what is no `Integral`; `ValueError` for a box without end, and for too many controls.
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
