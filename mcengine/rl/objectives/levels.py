"""Levels: how the log-ratios of single steps become the log-weight that an objective uses.

A level takes log-ratios log pi - log mu of steps and a mask, [..., T] each, and returns log-weights: [..., T] if every
step has its own, [..., 1] if a sequence has one. Masked steps do not contribute.

In some libraries "sequence-level" means the geometric mean of a sequence's ratios, which here is `length_mean`; here
`sequence` is their product.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

Steps = Float[Array, "*batch T"]
Mask = Bool[Array, "*batch T"]
Level = Callable[[Array, Array], Array]


def step(log_ratio: Steps, mask: Mask) -> Steps:
    """log r_t, as in PPO, V-trace and CISPO. Biased: it ignores that mu, not pi, led to the state."""
    return jnp.where(mask, log_ratio, 0.0)


def prefix(log_ratio: Steps, mask: Mask) -> Steps:
    """sum_{i <= t} log r_i: the exact weight of a reward at t, which later actions cannot affect (PDIS)."""
    return jnp.cumsum(step(log_ratio, mask), axis=-1)


def sequence(log_ratio: Steps, mask: Mask) -> Float[Array, "*batch 1"]:
    """sum_t log r_t: the exact weight of the whole sequence; its variance is large (IS)."""
    return jnp.sum(step(log_ratio, mask), axis=-1, keepdims=True)


def length_mean(log_ratio: Steps, mask: Mask) -> Float[Array, "*batch 1"]:
    """mean_t log r_t: the geometric mean of the ratios. Its variance is small, but it is no importance weight (GSPO).

    0 for a sequence without unmasked steps.

    **Source:** Zheng et al., Group Sequence Policy Optimization (2025), equation 7.
    """
    length = jnp.sum(mask, axis=-1, keepdims=True).astype(log_ratio.dtype)
    return sequence(log_ratio, mask) / jnp.maximum(length, 1.0)


def length_mean_of_tokens(log_ratio: Steps, mask: Mask) -> Steps:
    """The value of `length_mean` at every token, with the gradient of the token's own log-ratio.

    Tokens may then have advantages of their own. With one advantage per sequence and `reductions.sequence_mean` the
    gradient equals that of `length_mean`.

    **Source:** Zheng et al. (2025), equation 14 (GSPO-token).
    """
    own = step(log_ratio, mask)
    # -inf minus -inf would be NaN; where own is -inf the mean is -inf already.
    finite = jnp.where(own == -jnp.inf, 0.0, own)
    return lax.stop_gradient(length_mean(log_ratio, mask) - finite) + finite
