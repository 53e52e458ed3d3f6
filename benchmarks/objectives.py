"""Policy objectives with gradients on 10^6 log-ratios, compared with the same loss written by hand and jitted."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from benchmarks.timing import interleaved, table
from mcengine.rl import objectives, reductions

SHAPE = (1_000, 1_000)
REQUIRED = 1.1
Steps = Float[Array, "sequences steps"]
Loss = Float[Array, ""]


def ppo_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """PPO-clip."""
    r = jnp.exp(log_pi - log_mu)
    return -jnp.mean(jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a))


def dual_clip_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """Dual clip."""
    r = jnp.exp(log_pi - log_mu)
    terms = jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a)
    return -jnp.mean(jnp.where(a < 0, jnp.maximum(terms, 3.0 * a), terms))


def gspo_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """GSPO, one advantage per sequence."""
    s = jnp.exp(jnp.mean(log_pi - log_mu, axis=-1))
    return -jnp.mean(jnp.minimum(s * a[:, 0], jnp.clip(s, 1 - 3e-4, 1 + 4e-4) * a[:, 0]))


def grpo_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """GRPO as published; the old policy is the reference."""
    r, away = jnp.exp(log_pi - log_mu), log_mu - log_pi
    k3 = jnp.exp(away) - 1.0 - away
    return -jnp.mean(jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a) - 0.04 * k3)


def cispo_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """CISPO."""
    return -jnp.mean(lax.stop_gradient(jnp.minimum(jnp.exp(log_pi - log_mu), 5.0)) * a * log_pi)


def vtrace_gradient_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """V-trace's policy gradient."""
    return -jnp.mean(lax.stop_gradient(jnp.minimum(jnp.exp(log_pi - log_mu), 1.0)) * a * log_pi)


def reinforce_by_hand(log_pi: Steps, log_mu: Steps, a: Steps) -> Loss:
    """REINFORCE."""
    del log_mu
    return -jnp.mean(a * log_pi)


def with_options(function: Callable, **options: Any) -> Callable:
    """The objective with its options, as a function of (log_pi, log_mu, advantages)."""
    return lambda log_pi, log_mu, a: function(log_pi, log_mu, a, **options)


OBJECTIVES: dict[str, tuple[Callable, Callable]] = {
    "PPO-clip": (ppo_by_hand, with_options(objectives.ppo_clip)),
    "dual clip": (dual_clip_by_hand, with_options(objectives.dual_clip)),
    "GSPO": (gspo_by_hand, lambda p, q, a: objectives.gspo(p, q, a[:, :1])),
    "GRPO": (
        grpo_by_hand,
        lambda p, q, a: objectives.grpo(p, q, a, q, beta=0.04, kl_gradient="k3", kl_weighted=False),
    ),
    "CISPO": (cispo_by_hand, with_options(objectives.cispo)),
    "V-trace policy gradient": (
        vtrace_gradient_by_hand,
        with_options(objectives.off_policy_gradient, rho_bar=1.0, reduction=reductions.token_mean),
    ),
    "REINFORCE": (
        reinforce_by_hand,
        lambda p, q, a: objectives.policy_gradient(p, a, reduction=reductions.token_mean),
    ),
}


def main() -> str:
    """The table of median times of value and gradient, interleaved in one process."""
    keys = jax.random.split(jax.random.key(0), 3)
    log_mu = -jnp.abs(jax.random.normal(keys[0], SHAPE))
    arrays = (log_mu + 0.2 * jax.random.normal(keys[1], SHAPE), log_mu, jax.random.normal(keys[2], SHAPE))
    rows = []
    for name, forms in OBJECTIVES.items():
        by_hand, ours = (jax.jit(jax.value_and_grad(form)) for form in forms)
        assert jnp.allclose(by_hand(*arrays)[0], ours(*arrays)[0], rtol=1e-4, atol=1e-6), name
        seconds = interleaved(
            {
                "hand": lambda f=by_hand: jax.block_until_ready(f(*arrays)),
                "ours": lambda f=ours: jax.block_until_ready(f(*arrays)),
            },
            repeats=201,
        )
        ratio = seconds["ours"] / seconds["hand"]
        cells = (f"{1e3 * seconds[side]:.2f}" for side in ("hand", "ours"))
        rows.append([name, *cells, f"{ratio:.2f}", "yes" if ratio <= REQUIRED else "NO"])
    return table(["objective and gradient", "by hand, ms", "ours, ms", f"ratio (required: {REQUIRED})", "met"], rows)


if __name__ == "__main__":
    print(main())
