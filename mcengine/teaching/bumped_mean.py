"""A derivative by a finite difference, the smallest problem that common random numbers are made for."""

import jax.numpy as jnp
import numpy as np

from mcengine.distributions import Normal
from mcengine.problems.difference import Difference, difference
from mcengine.problems.expectation import Expectation


def bumped_mean(loc=0.0, bump=0.05, scale=1.0) -> Difference:
    """E[exp X] for X ~ N(loc + bump, scale^2), for X ~ N(loc, scale^2), and the difference, from the same uniforms.

    Exactly E[exp X] = exp(loc + scale^2 / 2); the difference over the bump tends to that derivative. The pairing
    divides the variance of independent runs by (e^(2 bump) + 1) / (e^bump - 1)^2, whatever the scale.

    **Raises:** `ValueError` for a bump of 0.
    """
    if bump == 0:
        raise ValueError("bumped_mean: bump must not be 0, or both problems are the same.")
    first, second = (
        Expectation(jnp.exp, Normal(mean, scale), exact=np.exp(mean + 0.5 * scale**2)) for mean in (loc + bump, loc)
    )
    return difference(first, second)
