"""What the gradients refuse, in the user's words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import numerics
from mcengine.checks import NUM_PROBES
from mcengine.distributions import as_distribution, sample_many
from mcengine.execution.caching import Static, closes_over_trace, is_traced, join, split
from mcengine.gradients.samples import Score

# Standard errors between the mean score and 0: what chance does once in 10^15 runs.
FAR = 8.0


def as_parameters(parameters: Any) -> Any:
    """The parameters as strongly typed float arrays; a `TypeError` that names what is none."""
    if not jax.tree.leaves(parameters):
        raise ValueError("estimate_gradient: there are no parameters to differentiate along.")
    return jax.tree_util.tree_map_with_path(_as_float, parameters)


def _as_float(path: Any, leaf: Any) -> jax.Array:
    is_float = isinstance(leaf, float) or (
        isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.floating)
    )
    if not is_float:
        name = f"parameters{jax.tree_util.keystr(path)}"
        raise TypeError(
            f"estimate_gradient: {name} must be a float or an array of floats, got {leaf!r}. What is not to be "
            "differentiated belongs into problem_of."
        )
    return jnp.asarray(leaf, numerics.float_dtype())


def problem_at(problem_of: Callable[[Any], Any], parameters: Any) -> Any:
    """`problem_of(parameters)`; a `TypeError` unless that is a problem."""
    if not callable(problem_of):
        raise TypeError(f"estimate_gradient: problem_of must be a function of the parameters, got {problem_of!r}.")
    problem = problem_of(parameters)
    if not all(hasattr(problem, name) for name in ("target", "integrand", "plain", "value_bound")):
        raise TypeError(
            f"estimate_gradient: problem_of must return an Expectation, an Integral or a Probability, got {problem!r}."
        )
    return problem


def check_fixed_support(problem_of: Callable[[Any], Any], parameters: Any) -> None:
    """Raise where the target's support moves with the parameters and its mean score is seen not to be 0.

    E_p[grad log p] = 0 unless mass crosses a limit that moves, and then grad E_p[f] has a term there that no sample
    sees. A density that vanishes at its limits may move them. Only limits that the target declares are looked at.
    """
    score = Score(problem_of, parameters)
    if is_traced(score) or closes_over_trace(score) or not _moves(problem_of, parameters):
        return
    target = as_distribution(problem_of(parameters).plain)
    dynamic, static = split((score, target))
    scores = jax.tree.leaves(jax.device_get(_scores(dynamic, static=static)))
    columns = np.concatenate([np.asarray(leaf, np.float64).reshape(NUM_PROBES, -1) for leaf in scores], axis=1)
    error = np.std(columns, axis=0) / np.sqrt(NUM_PROBES)
    # A constant score has no spread but its rounding.
    if np.any(np.abs(np.mean(columns, axis=0)) > FAR * error + 1e-4 * np.max(np.abs(columns), axis=0)):
        raise ValueError(
            f"estimate_gradient: the support of {type(target).__name__} moves with the parameters and its density does "
            "not vanish there, so the score form would miss what crosses the limit. Use form='pathwise', or write the "
            "problem over a law whose support stays (a change of variables)."
        )


@partial(jax.jit, static_argnames=("static",))
def _scores(dynamic: Any, *, static: Static) -> Any:
    score, target = join(dynamic, static)
    return jax.vmap(score)(sample_many(target, jax.random.key(0), NUM_PROBES))


def _moves(problem_of: Callable[[Any], Any], parameters: Any) -> bool:
    """Whether a finite limit of the target's declared support depends on the parameters."""

    def finite_limits(parameters):
        limits = jax.tree.leaves(getattr(problem_of(parameters).target, "support", None))
        return [jnp.where(jnp.isfinite(x), x, 0.0) for x in limits if jnp.issubdtype(x.dtype, jnp.floating)]

    slopes = jax.tree.leaves(jax.jacfwd(finite_limits)(parameters))
    return any(bool(np.any(np.asarray(slope) != 0)) for slope in slopes)
