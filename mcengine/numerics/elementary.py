"""Elementary functions for the kernels, with their accuracy: what the compiler's own are too slow or too rough for."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float


# Minimax fits (relative error) of the normal quantile, after the form of M. Giles, "Approximating the erfinv
# function" (2011): z = (1 - 2p) P(t - 3.125) for t = -log(4p(1 - p)) below 6.25, else Q(sqrt(t) - 4.5), up to t = 46,
# that is p = 1e-20. `benchmarks/fit_normal_quantile.py` makes them.
_CENTRAL = (
    2.3386209e00, 3.3963475e-01, -8.5337525e-03, -1.0472283e-03, 2.6481517e-04,
    -1.9741852e-05, -2.1541596e-06, 6.1601486e-07, -1.2343249e-08, -7.1558048e-09,
)  # fmt: skip
_TAIL = (
    6.1444097e00, 1.4286858e00, 4.6603935e-04, -6.1085960e-04, 2.0287075e-04,
    -5.3447813e-05, 1.6660011e-05, -4.4487374e-06, 1.1360690e-07, 1.4500112e-07,
)  # fmt: skip


def polynomial(coefficients: tuple[float, ...], x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """sum_i c_i x^i by Horner's rule, lowest power first."""
    result = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


@jax.custom_jvp
def normal_quantile(v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The standard normal quantile of a centred uniform, both tails alike: z(-v) = -z(v).

    Relative error below 4e-7 in float32 for every word; in float64 it is SciPy's `ndtri` of the smaller tail.
    """
    p = jnp.abs(v)
    if v.dtype == jnp.float64:
        z = -ndtri(p)
    else:
        t = -jnp.log(4.0 * p * (1.0 - p))
        # Clamped so that the branch not taken stays finite.
        tail = polynomial(_TAIL, jnp.sqrt(jnp.maximum(t, 6.25)) - 4.5)
        z = jnp.where(t < 6.25, (1.0 - 2.0 * p) * polynomial(_CENTRAL, t - 3.125), tail)
    return jnp.where(v > 0, -z, z)


@normal_quantile.defjvp
def _normal_quantile_jvp(primals, tangents):
    # dz/dv = sqrt(2 pi) exp(z^2 / 2), the reciprocal density: exact, and cheaper than through the polynomials.
    (v,), (v_dot,) = primals, tangents
    z = normal_quantile(v)
    return z, v_dot * np.sqrt(2 * np.pi) * jnp.exp(0.5 * z * z)
