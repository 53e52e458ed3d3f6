"""What the front door refuses, in the user's words."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine.distributions import event_struct, sample_many
from mcengine.distributions.univariate import concrete

# Samples of the target that look for a place where f is not 0 and the proposal cannot go.
NUM_PROBES = 1024


def check_key(key: Any) -> Any:
    """The key, typed; raises unless it is one JAX key (typed, or raw words)."""
    is_key = isinstance(key, jax.Array) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0)
        or (key.dtype == jnp.uint32 and key.ndim == 1)
    )
    if not is_key:
        raise TypeError(f"estimate: key must be one key such as jax.random.key(0), got {key!r}.")
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def check_events(problem: Any, source: Any) -> None:
    """Raise unless the proposal's samples look like what the problem expects."""
    wanted, offered = _describe(event_struct(problem.plain)), _describe(event_struct(source))
    if wanted != offered:
        raise ValueError(
            f"estimate: the proposal's samples have shape {offered}, the target's have {wanted}; they must be the same."
        )


def _describe(event: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.shape, event)


def check_support(problem: Any, proposal: Any) -> None:
    """Raise where the proposal is seen to have no density at a point of the target where f is not 0.

    Only proposals whose declared `support` does not hold the target's are looked at, by `NUM_PROBES` samples of plain
    Monte Carlo: a narrower proposal is right where f is 0 outside it (a truncated one for a rare event), and a probe
    that finds nothing proves nothing, but one that finds a point is never wrong.
    """
    if proposal is None or not _narrower(getattr(proposal, "support", None), getattr(problem.target, "support", None)):
        return
    x = sample_many(problem.plain, jax.random.key(0), NUM_PROBES)
    log_p, log_q = jax.vmap(problem.target.log_prob)(x), jax.vmap(proposal.log_prob)(x)
    values = jax.tree.leaves(jax.vmap(problem.integrand)(x))
    matters = np.any([np.any(np.asarray(v).reshape(NUM_PROBES, -1) != 0, axis=1) for v in values], axis=0)
    missed = matters & (np.asarray(log_p) > -np.inf) & (np.asarray(log_q) == -np.inf)
    if missed.any():
        where = jax.tree.map(lambda leaf: np.asarray(leaf)[np.argmax(missed)], x)
        raise ValueError(
            f"estimate: the proposal has no density at x = {where}, where the target has and the integrand is not 0 "
            f"({missed.mean():.0%} of the target's mass that was probed): the estimate would miss it. Use a proposal "
            "that covers the target, for instance mc.defensive(target, proposal)."
        )


def _narrower(inner: Any, outer: Any) -> bool:
    if inner is None:
        return False
    whole_line = (np.asarray(-np.inf), np.asarray(np.inf))
    sides: list[Any] = [concrete(side) for side in (*inner, *(outer or whole_line))]
    if any(side is None for side in sides):
        return False
    inner_low, inner_high, outer_low, outer_high = sides
    return bool(np.any(inner_low > outer_low) or np.any(inner_high < outer_high))
