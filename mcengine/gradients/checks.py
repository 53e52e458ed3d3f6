"""The checks of the arguments of gradients, with errors in the user's words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.distributions import Distribution, as_distribution, event_struct, sample_many
from mcengine.distributions.protocol import Density, Transport, can_be_sampled, support_of
from mcengine.engine.validation import NUM_PROBES
from mcengine.gradients.samples import Parameters, Score
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import closes_over_trace, is_traced
from mcengine.proposals import MultiSample

# The mean score differs from 0 if it is this many standard errors away: by chance once in 10^15 runs.
MOST_STD_ERRORS = 8.0


def as_parameters(caller: str, parameters: Any) -> Parameters:
    """The parameters as strongly typed float arrays.

    **Raises:** `ValueError` without parameters; `TypeError` that names a leaf which is not a float.
    """
    if not jax.tree.leaves(parameters):
        raise ValueError(f"{caller}: there are no parameters to differentiate along.")
    return jax.tree_util.tree_map_with_path(partial(_as_float, caller), parameters)


def _as_float(caller: str, path: jax.tree_util.KeyPath, leaf: Any) -> Float[Array, "..."]:
    is_float = isinstance(leaf, float) or (
        isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.floating)
    )
    if not is_float:
        raise TypeError(
            f"{caller}: parameters{jax.tree_util.keystr(path)} must be a float or an array of floats, got {leaf!r}. "
            "Numbers that are not differentiated belong into the function of the parameters."
        )
    return jnp.asarray(leaf, numerics.float_dtype())


def pathwise_source(caller: str, source: Distribution) -> Transport:
    """The source as a transport whose samples are a differentiable function of its parameters; raises otherwise."""
    if not isinstance(source, Transport):
        raise ValueError(
            f"{caller}: the pathwise form needs a transport (num_uniforms and forward(v)), and "
            f"{type(source).__name__} is not one. Use form='score'."
        )
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(event_struct(source))]
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(
            f"{caller}: {type(source).__name__} is discrete: its samples jump as the parameters change, and a "
            "pathwise gradient would silently be 0. Use form='score'."
        )
    if isinstance(source, MultiSample):
        raise ValueError(f"{caller}: a proposal with fixed counts needs form='score'; or give its mixture.")
    return source


def check_fixed_support(caller: str, density_of: Callable[[Any], Density], parameters: Parameters) -> None:
    """Raise if the support depends on the parameters and the sample mean of the score is not 0.

    E_p[grad log p] = 0 unless probability mass crosses a limit that moves; then grad E_p[f] has a boundary term that no
    sample contains. Limits may move if the density is 0 there. Only the declared `support` is examined.
    """
    score = Score(density_of, parameters)
    if is_traced(score) or closes_over_trace(score) or not _has_moving_limit(density_of, parameters):
        return
    distribution = as_distribution(density_of(parameters))
    dynamic, static = partition((score, distribution))
    scores = jax.tree.leaves(jax.device_get(_scores(dynamic, static=static)))
    columns = np.concatenate([np.asarray(leaf, np.float64).reshape(NUM_PROBES, -1) for leaf in scores], axis=1)
    error = np.std(columns, axis=0) / np.sqrt(NUM_PROBES)
    # The second term is for a constant score, whose standard deviation is rounding error.
    if np.any(np.abs(np.mean(columns, axis=0)) > MOST_STD_ERRORS * error + 1e-4 * np.max(np.abs(columns), axis=0)):
        raise ValueError(
            f"{caller}: the support of {type(distribution).__name__} moves with the parameters and its density is not "
            "0 at the limit, so the score form would miss the mass that crosses it. Use form='pathwise', or a "
            "change of variables that fixes the support."
        )


@partial(jax.jit, static_argnames=("static",))
def _scores(dynamic: list[Array], *, static: StaticPart) -> Parameters:
    score, distribution = combine(dynamic, static)
    return jax.vmap(score)(sample_many(distribution, jax.random.key(0), NUM_PROBES))


def _has_moving_limit(density_of: Callable[[Any], Density], parameters: Parameters) -> bool:
    """Whether a finite limit of the declared support depends on the parameters."""

    def finite_limits(parameters: Parameters) -> list[Float[Array, "..."]]:
        density = density_of(parameters)
        limits = jax.tree.leaves(support_of(density)) if can_be_sampled(density) else []
        return [jnp.where(jnp.isfinite(x), x, 0.0) for x in limits if jnp.issubdtype(x.dtype, jnp.floating)]

    slopes = jax.tree.leaves(jax.jacfwd(finite_limits)(parameters))
    return any(bool(np.any(np.asarray(slope) != 0)) for slope in slopes)
