"""What the front door refuses, in the user's words."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcengine import distributions
from mcengine.distributions import Product, event_struct, is_transport, sample_many
from mcengine.numerics.partition import StaticPart, combine, partition, shapes_of
from mcengine.numerics.tracing import traced
from mcengine.numerics.values import concrete
from mcengine.problems.coupling import OwnWeights

# Families with a density wherever their support says. Tables of probabilities, trajectories and what users write may
# have none in between.
FILL_THEIR_SUPPORT = (
    distributions.Normal, distributions.MultivariateNormal, distributions.StudentT, distributions.Uniform,
    distributions.Exponential, distributions.Gamma, distributions.Beta, distributions.LogNormal, distributions.Gumbel,
    distributions.Weibull, distributions.GeneralisedPareto, distributions.Poisson, distributions.Truncated,
    distributions.Box,
)  # fmt: skip
# Samples of the target that look for a place where f is not 0 and the proposal cannot go.
NUM_PROBES = 1024


def check_key(caller: str, key: Any) -> Any:
    """The key, typed; raises unless it is one JAX key (typed, or raw words)."""
    is_key = isinstance(key, jax.Array) and (
        (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0)
        or (key.dtype == jnp.uint32 and key.ndim == 1)
    )
    if not is_key:
        raise TypeError(f"{caller}: key must be one key such as jax.random.key(0), got {key!r}.")
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def check_events(problem: Any, source: Any) -> None:
    """Raise unless the proposal's samples look like what the problem expects."""
    if not hasattr(problem.plain, "sample"):
        return  # a target known by its density alone
    wanted, offered = _describe(event_struct(problem.plain)), _describe(event_struct(source))
    if wanted != offered:
        raise ValueError(
            f"estimate: the proposal's samples have shape {offered}, the target's have {wanted}; they must be the same."
        )


def check_densities(problem: Any, source: Any) -> None:
    """Raise unless the log densities of one sample are one number each."""
    event = event_struct(source)
    for name, law in (("target", problem.target), ("proposal", source)):
        if isinstance(law, OwnWeights):
            continue  # a pair's own, one for each output
        with traced(f"log_prob of the {name}"):
            found = shapes_of(_log_prob_of, law, event)
        if getattr(found, "shape", None) != ():
            raise ValueError(
                f"estimate: log_prob of the {name} ({type(law).__name__}) must give one number for one sample, got "
                f"shape {getattr(found, 'shape', found)}."
            )


def _log_prob_of(law: Any, x: Any) -> Any:
    return law.log_prob(x)


def _describe(event: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.shape, event)


def check_transport(points: Any, source: Any) -> None:
    """Raise where points with structure are asked of a distribution that is not the image of the unit cube."""
    if points.needs_transport and not is_transport(source):
        families = ", ".join(n for n in distributions.__all__ if is_transport(getattr(distributions, n)))
        raise TypeError(
            f"estimate: points.{type(points).__name__} needs a transport (num_uniforms and forward(v)), and "
            f"{type(source).__name__} is none. Transports are {families}, and what is composed of them; other "
            "distributions can be drawn with points.IID()."
        )


def check_tolerance(budget: Any, problem: Any, outputs: Any, not_in_order: bool) -> None:
    """Raise where the tolerance may never be reached, or its interval cannot be had."""
    if budget.atol is None and not getattr(problem, "is_indicator", False):
        raise ValueError(
            "Tolerance: the true value may be 0, where no relative tolerance is ever reached: give atol besides rtol "
            "(atol=0.0 where you know that it is not 0)."
        )
    if outputs.of_samples:
        raise ValueError("Tolerance: TailRisk needs all samples and a budget of mc.Samples(n).")
    if budget.finite_sample == "betting" and not_in_order:
        raise ValueError(
            "Tolerance: betting sees units one after the other, and Sobol points without a size grow theirs: give a "
            "size, as in mc.points.Sobol(256), or use points.IID()."
        )
    if budget.finite_sample and not all(np.isfinite(np.asarray(p.spec.largest)) for p in outputs.of_columns.values()):
        raise ValueError(
            "Tolerance: finite_sample needs a bound on w f: a Probability by plain sampling, or under "
            "mc.defensive(target, proposal), with raw weights and no controls."
        )


def check_support(problem: Any, proposal: Any, self_normalised: bool = False) -> None:
    """Raise where the proposal is seen to have no density at a point of the target where f is not 0.

    Looked for by `NUM_PROBES` samples of plain Monte Carlo, unless the proposal is known to cover the target. A probe
    that finds nothing proves nothing, but one that finds a point is never wrong: a narrower proposal is right where f
    is 0 outside it (a truncated one for a rare event), except for a self-normalised estimate, whose mean weight needs
    all of the target.
    """
    if proposal is None or not hasattr(problem.plain, "sample") or _covers(proposal, problem.target):
        return
    dynamic, static = partition((problem, proposal))
    with traced("the integrand"):
        x, missed = jax.device_get(_probe(dynamic, static=static, everywhere=self_normalised))
    if missed.any():
        where = jax.tree.map(lambda leaf: leaf[np.argmax(missed)], x)
        needed = "a self-normalised estimate needs all of it" if self_normalised else "the integrand is not 0"
        raise ValueError(
            f"estimate: the proposal has no density at x = {where}, where the target has and {needed} "
            f"({missed.mean():.0%} of the target's mass that was probed): the estimate would miss it. Use a proposal "
            "that covers the target, for instance mc.defensive(target, proposal)."
        )


@partial(jax.jit, static_argnames=("static", "everywhere"))
def _probe(dynamic: Any, *, static: StaticPart, everywhere: bool) -> Any:
    """(samples of the target, whether each is out of the proposal's reach and matters)."""
    problem, proposal = combine(dynamic, static)
    x = sample_many(problem.plain, jax.random.key(0), NUM_PROBES)
    log_p, log_q = jax.vmap(problem.target.log_prob)(x), jax.vmap(proposal.log_prob)(x)
    values = jax.tree.leaves(jax.vmap(problem.integrand)(x))
    # A NaN is another mistake, counted elsewhere.
    nonzero = jnp.any(jnp.concatenate([jnp.abs(v.reshape(NUM_PROBES, -1)) > 0 for v in values], axis=1), axis=1)
    return x, (nonzero | everywhere) & (log_p > -jnp.inf) & (log_q == -jnp.inf)


def _covers(proposal: Any, target: Any) -> bool:
    """Whether the proposal is known to have a density wherever the target has one."""
    if proposal is target or getattr(proposal, "target", None) is target:
        return True
    components = getattr(getattr(proposal, "mixture", proposal), "components", None)
    if components is not None and not isinstance(proposal, Product):
        return any(_covers(component, target) for component in components)
    outputs = proposal.components if isinstance(proposal, Product) else (proposal,)
    if not all(isinstance(output, FILL_THEIR_SUPPORT) for output in outputs):
        return False
    return not _narrower(proposal.support, getattr(target, "support", None))


def _narrower(inner: Any, outer: Any) -> bool:
    if inner is None:
        return False
    whole_line = (np.asarray(-np.inf), np.asarray(np.inf))
    sides: list[Any] = [concrete(side) for side in (*inner, *(outer or whole_line))]
    if any(side is None for side in sides):
        return False
    inner_low, inner_high, outer_low, outer_high = sides
    return bool(np.any(inner_low > outer_low) or np.any(inner_high < outer_high))
