"""A derivative by a finite difference: the smallest problem for common random numbers."""

import jax.numpy as jnp
import numpy as np

from mcengine.distributions import Normal
from mcengine.numerics.values import Scalar
from mcengine.problems.difference import Difference, difference
from mcengine.problems.expectation import Expectation


def bumped_mean(loc: Scalar = 0.0, bump: Scalar = 0.05, scale: Scalar = 1.0) -> Difference:
    """E[exp X] for X ~ N(loc + bump, scale^2), for X ~ N(loc, scale^2), and the difference, from the same uniforms.

    The exact value of E[exp X] is exp(loc + scale^2 / 2). The difference over the bump approximates its derivative in
    loc. Compared with independent runs, common random numbers divide the variance by (e^(2 bump) + 1) / (e^bump - 1)^2,
    for every scale.

    **Raises:** `ValueError` for a bump of 0.
    """
    if bump == 0:
        raise ValueError("bumped_mean: bump must not be 0; both problems would be the same.")
    first, second = (
        Expectation(jnp.exp, Normal(mean, scale), exact=np.exp(mean + 0.5 * scale**2)) for mean in (loc + bump, loc)
    )
    return difference(first, second)
