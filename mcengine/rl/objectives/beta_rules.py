"""Rules that update the penalty `beta` of `ppo_kl` once per iteration, towards a target divergence."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Number = Float[Array, ""]


def adaptive_beta(
    beta: ArrayLike, kl: ArrayLike, target: ArrayLike, *, tolerance: float = 1.5, factor: float = 2.0
) -> Number:
    """beta / factor if kl < target / tolerance, beta factor if kl > target tolerance, else beta.

    **Arguments:** `kl`, the mean divergence after the iteration's epochs, in nats; `target`, its target. The defaults
    of `tolerance` and `factor` are the paper's; RLlib has 2 and 1.5.

    **Raises:** `ValueError` unless tolerance and factor are above 1.

    **Source:** Schulman et al., Proximal Policy Optimization Algorithms (2017), section 4.
    """
    if not (tolerance > 1.0 and factor > 1.0):
        raise ValueError(f"adaptive_beta: tolerance and factor must be above 1, got {tolerance} and {factor}.")
    beta, kl, target = (jnp.asarray(x, float) for x in (beta, kl, target))
    return jnp.where(kl < target / tolerance, beta / factor, jnp.where(kl > target * tolerance, beta * factor, beta))


def proportional_beta(
    beta: ArrayLike, kl: ArrayLike, target: ArrayLike, *, num_steps: int, horizon: int = 10_000
) -> Number:
    """beta (1 + clip(kl / target - 1, -0.2, 0.2) num_steps / horizon): a proportional controller.

    **Arguments:** `kl` and `target` as in `adaptive_beta`; `num_steps`, samples since the last update; `horizon`,
    samples over which beta adapts.

    **Source:** Ziegler et al., Fine-tuning language models from human preferences (2019), section 2.2.
    """
    beta, kl, target = (jnp.asarray(x, float) for x in (beta, kl, target))
    return beta * (1.0 + jnp.clip(kl / target - 1.0, -0.2, 0.2) * (num_steps / horizon))
