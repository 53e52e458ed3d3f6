"""What the gradients refuse, in the user's words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import numerics
from mcengine.distributions import as_distribution, event_struct, is_transport, sample_many
from mcengine.engine.validation import NUM_PROBES
from mcengine.gradients.samples import Score
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import closes_over_trace, is_traced

# Standard errors between the mean score and 0: what chance does once in 10^15 runs.
FAR = 8.0


def as_parameters(caller: str, parameters: Any) -> Any:
    """The parameters as strongly typed float arrays; a `TypeError` that names what is none."""
    if not jax.tree.leaves(parameters):
        raise ValueError(f"{caller}: there are no parameters to differentiate along.")
    return jax.tree_util.tree_map_with_path(partial(_as_float, caller), parameters)


def _as_float(caller: str, path: Any, leaf: Any) -> jax.Array:
    is_float = isinstance(leaf, float) or (
        isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.floating)
    )
    if not is_float:
        raise TypeError(
            f"{caller}: parameters{jax.tree_util.keystr(path)} must be a float or an array of floats, got {leaf!r}. "
            "What is not to be differentiated belongs into the function of the parameters."
        )
    return jnp.asarray(leaf, numerics.float_dtype())


def problem_at(caller: str, problem_of: Any, parameters: Any) -> Any:
    """`problem_of(parameters)`; a `TypeError` unless that is a problem."""
    if not callable(problem_of):
        raise TypeError(f"{caller}: problem_of must be a function of the parameters, got {problem_of!r}.")
    problem = problem_of(parameters)
    if not all(hasattr(problem, name) for name in ("target", "integrand", "plain", "value_bound")):
        raise TypeError(
            f"{caller}: problem_of must return an Expectation, an Integral or a Probability, got {problem!r}."
        )
    return problem


def check_moves(caller: str, source: Any) -> None:
    """Raise where samples of `source` cannot move with its parameters."""
    if not is_transport(source):
        raise ValueError(
            f"{caller}: the pathwise form needs a transport (num_uniforms and forward(v)), and "
            f"{type(source).__name__} is none. Use form='score'."
        )
    kinds = [leaf.dtype for leaf in jax.tree.leaves(event_struct(source))]
    if not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise ValueError(
            f"{caller}: {type(source).__name__} is discrete: its samples jump where the parameters move, and a "
            "pathwise gradient would silently be 0. Use form='score'."
        )
    if hasattr(source, "counts"):
        raise ValueError(f"{caller}: a proposal with fixed counts is for form='score'; give its mixture.")


def check_fixed_support(caller: str, law_of: Callable[[Any], Any], parameters: Any) -> None:
    """Raise where the law's support moves with the parameters and its mean score is seen not to be 0.

    E_p[grad log p] = 0 unless mass crosses a limit that moves, and then grad E_p[f] has a term there that no sample
    sees. A density that vanishes at its limits may move them. Only limits that the law declares are looked at.
    """
    score = Score(law_of, parameters)
    if is_traced(score) or closes_over_trace(score) or not _moves(law_of, parameters):
        return
    law = as_distribution(law_of(parameters))
    dynamic, static = partition((score, law))
    scores = jax.tree.leaves(jax.device_get(_scores(dynamic, static=static)))
    columns = np.concatenate([np.asarray(leaf, np.float64).reshape(NUM_PROBES, -1) for leaf in scores], axis=1)
    error = np.std(columns, axis=0) / np.sqrt(NUM_PROBES)
    # A constant score has no spread but its rounding.
    if np.any(np.abs(np.mean(columns, axis=0)) > FAR * error + 1e-4 * np.max(np.abs(columns), axis=0)):
        raise ValueError(
            f"{caller}: the support of {type(law).__name__} moves with the parameters and its density does not vanish "
            "there, so the score form would miss what crosses the limit. Use form='pathwise', or a law whose support "
            "stays (a change of variables)."
        )


@partial(jax.jit, static_argnames=("static",))
def _scores(dynamic: Any, *, static: StaticPart) -> Any:
    score, law = combine(dynamic, static)
    return jax.vmap(score)(sample_many(law, jax.random.key(0), NUM_PROBES))


def _moves(law_of: Callable[[Any], Any], parameters: Any) -> bool:
    """Whether a finite limit of the declared support depends on the parameters."""

    def finite_limits(parameters):
        law = law_of(parameters)
        limits = jax.tree.leaves(getattr(law, "support", None)) if hasattr(law, "sample") else []
        return [jnp.where(jnp.isfinite(x), x, 0.0) for x in limits if jnp.issubdtype(x.dtype, jnp.floating)]

    slopes = jax.tree.leaves(jax.jacfwd(finite_limits)(parameters))
    return any(bool(np.any(np.asarray(slope) != 0)) for slope in slopes)
