"""Levels: how the log-ratios of steps become the log-weight that an objective uses.

Each takes log-ratios of single steps and a mask, [..., T] (time, or tokens, along the last axis), and returns
log-weights: [..., T] where every step has its own, [..., 1] where a sequence has one. Masked steps count for nothing.

The word "sequence" stands for the product of the ratios here (`sequence`), and for their geometric mean in some
libraries (here `length_mean`).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

Steps = Float[Array, "*batch T"]
Mask = Bool[Array, "*batch T"]


def step(log_ratio: Steps, mask: Mask) -> Steps:
    """log r_t: what PPO, V-trace and CISPO use. Ignores that the state was reached by the old policy (a bias)."""
    return jnp.where(mask, log_ratio, 0.0)


def prefix(log_ratio: Steps, mask: Mask) -> Steps:
    """sum_{i <= t} log r_i: exact for a reward at t, which later decisions cannot have caused (PDIS)."""
    return jnp.cumsum(step(log_ratio, mask), axis=-1)


def sequence(log_ratio: Steps, mask: Mask) -> Float[Array, "*batch 1"]:
    """sum_t log r_t: the weight of the whole sequence, exact and of large variance (IS)."""
    return jnp.sum(step(log_ratio, mask), axis=-1, keepdims=True)


def length_mean(log_ratio: Steps, mask: Mask) -> Float[Array, "*batch 1"]:
    """mean_t log r_t: the geometric mean of the ratios. Small variance, and no importance weight of anything.

    Source: Zheng et al., Group Sequence Policy Optimization (2025), equation 7. 0 where a sequence has no step.
    """
    length = jnp.sum(mask, axis=-1, keepdims=True).astype(log_ratio.dtype)
    return sequence(log_ratio, mask) / jnp.maximum(length, 1.0)


def length_mean_of_tokens(log_ratio: Steps, mask: Mask) -> Steps:
    """The value of `length_mean` at every token, and the gradient of the token's own log-ratio.

    Lets tokens have advantages of their own; with one advantage a sequence and `reductions.sequence_mean` its gradient
    is that of `length_mean`. Source: GSPO-token, equation 14 of the same paper.
    """
    own = step(log_ratio, mask)
    # -inf minus -inf is NaN; the mean is -inf there by itself.
    finite = jnp.where(own == -jnp.inf, 0.0, own)
    return lax.stop_gradient(length_mean(log_ratio, mask) - finite) + finite
