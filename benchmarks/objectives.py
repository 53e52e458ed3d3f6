"""Policy objectives with their gradients on 10^6 log-ratios, against the plainest jitted form of the same loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.timing import interleaved, table
from mcengine.rl import objectives, reductions

SHAPE = (1_000, 1_000)
ASKED = 1.1


def ppo_by_hand(log_pi, log_mu, a):
    """PPO-clip."""
    r = jnp.exp(log_pi - log_mu)
    return -jnp.mean(jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a))


def dual_clip_by_hand(log_pi, log_mu, a):
    """Dual clip."""
    r = jnp.exp(log_pi - log_mu)
    terms = jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a)
    return -jnp.mean(jnp.where(a < 0, jnp.maximum(terms, 3.0 * a), terms))


def gspo_by_hand(log_pi, log_mu, a):
    """GSPO, one advantage a sequence."""
    s = jnp.exp(jnp.mean(log_pi - log_mu, axis=-1))
    return -jnp.mean(jnp.minimum(s * a[:, 0], jnp.clip(s, 1 - 3e-4, 1 + 4e-4) * a[:, 0]))


def grpo_by_hand(log_pi, log_mu, a):
    """GRPO as published, the old policy its reference."""
    r, away = jnp.exp(log_pi - log_mu), log_mu - log_pi
    k3 = jnp.exp(away) - 1.0 - away
    return -jnp.mean(jnp.minimum(r * a, jnp.clip(r, 0.8, 1.2) * a) - 0.04 * k3)


def cispo_by_hand(log_pi, log_mu, a):
    """CISPO."""
    return -jnp.mean(lax.stop_gradient(jnp.minimum(jnp.exp(log_pi - log_mu), 5.0)) * a * log_pi)


def vtrace_gradient_by_hand(log_pi, log_mu, a):
    """V-trace's policy gradient."""
    return -jnp.mean(lax.stop_gradient(jnp.minimum(jnp.exp(log_pi - log_mu), 1.0)) * a * log_pi)


def reinforce_by_hand(log_pi, log_mu, a):
    """REINFORCE."""
    del log_mu
    return -jnp.mean(a * log_pi)


def guarded(function: Callable, **options) -> Callable:
    """Ours, with the mask that users give."""
    return lambda log_pi, log_mu, a: function(log_pi, log_mu, a, **options)


OBJECTIVES: dict[str, tuple[Callable, Callable]] = {
    "PPO-clip": (ppo_by_hand, guarded(objectives.ppo_clip)),
    "dual clip": (dual_clip_by_hand, guarded(objectives.dual_clip)),
    "GSPO": (gspo_by_hand, lambda p, q, a: objectives.gspo(p, q, a[:, :1])),
    "GRPO": (
        grpo_by_hand,
        lambda p, q, a: objectives.grpo(p, q, a, q, 0.04, kl_gradient="k3", kl_weighted=False),
    ),
    "CISPO": (cispo_by_hand, guarded(objectives.cispo)),
    "V-trace policy gradient": (
        vtrace_gradient_by_hand,
        guarded(objectives.off_policy_gradient, rho_bar=1.0, reduction=reductions.token_mean),
    ),
    "REINFORCE": (
        reinforce_by_hand,
        lambda p, q, a: objectives.policy_gradient(p, a, reduction=reductions.token_mean),
    ),
}


def main() -> str:
    """Medians of value and gradient, interleaved in one process."""
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
        rows.append([name, *cells, f"{ratio:.2f}", "yes" if ratio <= ASKED else "NO"])
    return table(["objective and gradient", "by hand, ms", "ours, ms", f"ratio (asked: {ASKED})", "met"], rows)


if __name__ == "__main__":
    print(main())
