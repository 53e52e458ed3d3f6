"""Several behaviour policies behind one log: the mean density of all loggers in the denominator."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.checks import Voice, trajectory_and_step
from mcengine.weights.mis import mixture_log_density


def mean_behaviour(
    log_densities: Float[np.ndarray, "loggers n steps"],
    logger: Int[np.ndarray, " units"],
    voice: Voice = Voice("mean_behaviour", trajectory_and_step),
) -> Float[np.ndarray, "n steps"]:
    """log mu(a_t | history) of the loggers' mixture, whose product over steps is the mean density of all loggers.

    With alpha_l the share of trajectories that logger l made, the balance heuristic divides by q(tau_{0:t}) =
    sum_l alpha_l prod_{k <= t} mu_l(a_k | s_k): whatever the others cover, no weight is larger than 1 / alpha_l times
    that under logger l alone. As one policy that is mu(a_t | history) = q(tau_{0:t}) / q(tau_{0:t-1}), which remembers
    what was done before; so every estimator for one behaviour policy serves several.

    The loggers' counts are taken as drawn, not as chosen, so error bars include the spread between loggers and are a
    little too wide.

    **Arguments:** `log_densities`, log mu_l(a_t | s_t) of every logged action under every logger, -inf where a logger
    never does that; `logger`, 0 .. L-1, who made the trajectory.

    **Raises:** `ValueError` where `logger` names one that there is not, or one that could not have done what it did.

    Source: E. Veach and L. Guibas (1995), Optimally combining sampling techniques, section 3.2 (balance heuristic);
    A. Agarwal, S. Basu, T. Schnabel, T. Joachims (2017), Effective evaluation using logged bandit feedback from
    multiple loggers, section 5.
    """
    num_loggers, n, _ = log_densities.shape
    voice.check_shape("logger", logger, (n,))
    voice.refuse((logger < 0) | (logger >= num_loggers), f"logger must be 0 to {num_loggers - 1}", logger)
    own = log_densities[logger, np.arange(n)]
    voice.refuse(own == -np.inf, "its logger's probability of the logged action is 0")
    shares = np.bincount(logger, minlength=num_loggers) / n
    with np.errstate(divide="ignore"):
        log_shares = np.log(shares)
    # A logger that could not have begun so cannot have gone on so: -inf stays in a running sum.
    prefix = np.cumsum(log_densities, axis=-1) + log_shares[:, None, None]
    with jax.enable_x64(True):
        log_q = np.asarray(mixture_log_density(jnp.asarray(prefix)))
    return np.diff(log_q, axis=-1, prepend=0.0)
