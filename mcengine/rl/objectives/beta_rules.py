"""The penalty of PPO's exact divergence, moved once an iteration towards a target divergence."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Number = Float[Array, ""]


def adaptive_beta(
    beta: ArrayLike, kl: ArrayLike, target: ArrayLike, *, tolerance: float = 1.5, factor: float = 2.0
) -> Number:
    """beta / factor where kl < target / tolerance, beta factor where kl > target tolerance, else beta.

    `kl` is the mean divergence after the iteration's epochs. The defaults are the paper's (Schulman et al. 2017,
    section 4); RLlib's rule is tolerance=2, factor=1.5.

    **Raises:** `ValueError` unless tolerance and factor are above 1.
    """
    if not (tolerance > 1.0 and factor > 1.0):
        raise ValueError(f"adaptive_beta: tolerance and factor must be above 1, got {tolerance} and {factor}.")
    beta, kl, target = (jnp.asarray(x, float) for x in (beta, kl, target))
    return jnp.where(kl < target / tolerance, beta / factor, jnp.where(kl > target * tolerance, beta * factor, beta))


def proportional_beta(
    beta: ArrayLike, kl: ArrayLike, target: ArrayLike, *, num_steps: int, horizon: int = 10_000
) -> Number:
    """beta (1 + clip(kl / target - 1, -.2, .2) num_steps / horizon): a proportional controller.

    Source: Ziegler et al., Fine-tuning language models from human preferences (2019), section 2.2.
    """
    beta, kl, target = (jnp.asarray(x, float) for x in (beta, kl, target))
    return beta * (1.0 + jnp.clip(kl / target - 1.0, -0.2, 0.2) * (num_steps / horizon))
