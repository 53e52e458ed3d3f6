"""Logs of several behaviour policies: the mean density of all loggers in the denominator of the weights."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mcengine.rl.ope.checks import Validator, trajectory_and_step
from mcengine.weights.mis import mixture_log_density


def mean_behaviour(
    log_densities: Float[np.ndarray, "loggers n steps"],
    logger: Int[np.ndarray, " units"],
    validator: Validator = Validator("mean_behaviour", trajectory_and_step),
) -> Float[np.ndarray, "n steps"]:
    """log mu(a_t | history) of the mixture of loggers; the product over steps is the mean density of all loggers.

    With alpha_l the share of the trajectories that logger l made, the balance heuristic divides by

        q(tau_{0:t}) = sum_l alpha_l prod_{k <= t} mu_l(a_k | s_k),

    so no weight is larger than 1 / alpha_l times the weight under logger l alone. As one policy this is
    mu(a_t | history) = q(tau_{0:t}) / q(tau_{0:t-1}), which depends on earlier actions; every estimator for one
    behaviour policy can then be used.

    **Arguments:**

    - `log_densities`, [L, n, T]: log mu_l(a_t | s_t) of every logged action under every logger, -inf for actions that
      a logger never takes.
    - `logger`, [n]: which logger, 0 .. L-1, made each trajectory.
    - `validator`: how errors name an entry.

    **Returns:** [n, T].

    **Raises:** `ValueError` for a `logger` out of range, or one that gives a logged action probability 0.

    **Limits:** the counts of the loggers are treated as random, so error bars include the spread between loggers and
    are slightly too wide.

    **Source:** E. Veach and L. Guibas (1995), Optimally combining sampling techniques, section 3.2 (balance heuristic);
    A. Agarwal, S. Basu, T. Schnabel, T. Joachims (2017), Effective evaluation using logged bandit feedback from
    multiple loggers, section 5.
    """
    num_loggers, n, _ = log_densities.shape
    validator.check_shape("logger", logger, (n,))
    validator.raise_where((logger < 0) | (logger >= num_loggers), f"logger must be 0 to {num_loggers - 1}", logger)
    own = log_densities[logger, np.arange(n)]
    validator.raise_where(own == -np.inf, "the logged action has probability 0 under its own logger")
    shares = np.bincount(logger, minlength=num_loggers) / n
    with np.errstate(divide="ignore"):
        log_shares = np.log(shares)
    # -inf stays in a running sum: a logger that cannot have taken the first actions cannot have made the rest.
    prefix = np.cumsum(log_densities, axis=-1) + log_shares[:, None, None]
    with jax.enable_x64(True):
        log_q = np.asarray(mixture_log_density(jnp.asarray(prefix)))
    return np.diff(log_q, axis=-1, prepend=0.0)
