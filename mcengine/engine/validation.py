"""Checks of the arguments of `estimate`, with errors in the user's words."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from mcengine import distributions
from mcengine.controls import ControlVariates
from mcengine.distributions import Distribution, Product, event_struct, is_transport, sample_many
from mcengine.distributions.protocol import Density, can_be_sampled, support_of
from mcengine.engine.budgets import Samples, Seconds, Tolerance
from mcengine.engine.options import Options
from mcengine.execution.settings import Execution
from mcengine.inference.covariance import check_covariance
from mcengine.inference.outputs import OutputLayout
from mcengine.numerics.partition import StaticPart, combine, partition, shapes_of
from mcengine.numerics.tracing import traced
from mcengine.numerics.values import concrete
from mcengine.points import Points
from mcengine.problems.coupling import OwnWeights
from mcengine.problems.protocol import Problem
from mcengine.proposals.defensive import DefensiveProposal
from mcengine.proposals.mixture import mixture_of
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Weighting

# Families whose density is positive everywhere in their support. A table of probabilities, a trajectory or a user's own
# distribution may have a density of 0 inside it.
FILL_THEIR_SUPPORT = (
    distributions.Normal, distributions.MultivariateNormal, distributions.StudentT, distributions.Uniform,
    distributions.Exponential, distributions.Gamma, distributions.Beta, distributions.LogNormal, distributions.Gumbel,
    distributions.Weibull, distributions.GeneralisedPareto, distributions.Poisson, distributions.Truncated,
    distributions.Box,
)  # fmt: skip
# Samples of the target that look for a point where f is not 0 and the proposal has no density.
NUM_PROBES = 1024


def check_key(caller: str, key: ArrayLike) -> PRNGKeyArray:
    """The key with a key dtype; raises unless it is one JAX key, with that dtype or as raw words."""
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
            return key
        if key.dtype == jnp.uint32 and key.ndim == 1:
            return jax.random.wrap_key_data(key)
    raise TypeError(f"{caller}: key must be one key such as jax.random.key(0), got {key!r}.")


def check_options(options: Options) -> None:
    """Raise unless every option is of its family."""
    if not isinstance(options.budget, Samples | Seconds | Tolerance):
        raise TypeError(
            f"estimate: budget must be mc.Samples(n), mc.Seconds(s) or mc.Tolerance(rtol), got {options.budget!r}."
        )
    check_methods("estimate", points=options.points, weighting=options.weighting)
    if not isinstance(options.execution, Execution):
        raise TypeError(f"estimate: execution must be an mc.Execution(...), got {options.execution!r}.")
    if options.mis is not None and (isinstance(options.mis, type) or not isinstance(options.mis, Heuristic)):
        raise TypeError(f"estimate: mis must be a heuristic such as mc.mis.Power(), got {options.mis!r}.")
    if options.controls is not None and not isinstance(options.controls, ControlVariates):
        raise TypeError(
            "estimate: controls must be mc.Controls(function, means), whose means are known, or mc.Components(), got "
            f"{options.controls!r}."
        )
    check_covariance(options.covariance)


def check_methods(caller: str, **methods: Points | Weighting) -> None:
    """Raise unless each is an object of its family, and not a class."""
    bases = {"points": Points, "weighting": Weighting}
    for name, value in methods.items():
        if isinstance(value, type) or not isinstance(value, bases[name]):
            raise TypeError(f"{caller}: {name} must be an object such as those of mc.{name}, got {value!r}.")


def check_events(problem: Problem, source: Distribution) -> None:
    """Raise unless the proposal's samples have the shapes of the target's."""
    if not can_be_sampled(problem.plain):
        return  # a target known by its density alone
    wanted, offered = _describe(event_struct(problem.plain)), _describe(event_struct(source))
    if wanted != offered:
        raise ValueError(
            f"estimate: the proposal's samples have shape {offered}, the target's have {wanted}; they must be the same."
        )


def check_densities(problem: Problem, source: Distribution) -> None:
    """Raise unless the log density of one sample is one number, for target and proposal."""
    event = event_struct(source)
    for name, distribution in (("target", problem.target), ("proposal", source)):
        if isinstance(distribution, OwnWeights):
            continue  # a paired problem has a log-weight for each output
        with traced(f"log_prob of the {name}"):
            found = shapes_of(_log_prob_of, distribution, event)
        shape = found.shape if isinstance(found, jax.ShapeDtypeStruct) else found
        if shape != ():
            raise ValueError(
                f"estimate: log_prob of the {name} ({type(distribution).__name__}) must give one number for one "
                f"sample, got shape {shape}."
            )


def _log_prob_of(distribution: Density, x: PyTree) -> Float[Array, "*shape"]:
    return distribution.log_prob(x)


def _describe(event: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.shape, event)


def check_transport(points: Points, source: Distribution) -> None:
    """Raise where points with structure meet a distribution that is not an image of the unit cube."""
    if points.needs_transport and not is_transport(source):
        exported = {name: getattr(distributions, name) for name in distributions.__all__}
        classes = {name: x for name, x in exported.items() if isinstance(x, type)}
        families = ", ".join(name for name in classes if is_transport(classes[name]))  # pyright: ignore[reportArgumentType]
        raise TypeError(
            f"estimate: points.{type(points).__name__} needs a transport (num_uniforms and forward(v)), and "
            f"{type(source).__name__} is not one. Transports are {families}, and distributions composed of them; "
            "others can be drawn with points.IID()."
        )


def check_tolerance(budget: Tolerance, problem: Problem, outputs: OutputLayout, not_in_order: bool) -> None:
    """Raise where the tolerance may never be reached, or its interval does not exist for this run.

    `not_in_order`: units grow side by side instead of one after the other.
    """
    if budget.atol is None and not problem.is_indicator:
        raise ValueError(
            "Tolerance: the true value may be 0, where no relative tolerance is ever reached: give atol besides rtol "
            "(atol=0.0 where you know that it is not 0)."
        )
    if outputs.of_samples:
        (first, *_) = outputs.of_samples.values()
        raise ValueError(f"Tolerance: {type(first).__name__} needs all samples and a budget of mc.Samples(n).")
    if budget.finite_sample == "betting" and not_in_order:
        raise ValueError(
            "Tolerance: betting needs units one after the other, and Sobol points without a size grow theirs side by "
            "side: give a size, as in mc.points.Sobol(256), or use points.IID()."
        )
    if budget.finite_sample and not all(np.isfinite(np.asarray(p.spec.largest)) for p in outputs.of_columns.values()):
        raise ValueError(
            "Tolerance: finite_sample needs a bound on w f: a Probability by plain sampling, or under "
            "mc.defensive(target, proposal), with raw weights and no controls."
        )


def check_support(problem: Problem, proposal: Distribution | None, self_normalised: bool = False) -> None:
    """Raise where the proposal is seen to have no density at a point of the target where f is not 0.

    `NUM_PROBES` samples of plain Monte Carlo look for such a point, unless the proposal is known to cover the target.
    Finding none proves nothing; one that is found is always an error. A narrower proposal is right where f is 0 outside
    it (a truncated one for a rare event), but not for a self-normalised estimate, whose mean weight needs all of the
    target.
    """
    if proposal is None or not can_be_sampled(problem.plain) or _covers(proposal, problem.target):
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
def _probe(dynamic: list[Array], *, static: StaticPart, everywhere: bool) -> tuple[PyTree, Bool[Array, " n"]]:
    """(samples of the target, whether the proposal has no density at each, and f is not 0 or `everywhere` counts)."""
    problem, proposal = combine(dynamic, static)
    x = sample_many(problem.plain, jax.random.key(0), NUM_PROBES)
    log_p, log_q = jax.vmap(problem.target.log_prob)(x), jax.vmap(proposal.log_prob)(x)
    values = jax.tree.leaves(jax.vmap(problem.integrand)(x))
    # A NaN is another mistake, which the estimate counts.
    nonzero = jnp.any(jnp.concatenate([jnp.abs(v.reshape(NUM_PROBES, -1)) > 0 for v in values], axis=1), axis=1)
    return x, (nonzero | everywhere) & (log_p > -jnp.inf) & (log_q == -jnp.inf)


def _covers(proposal: Distribution, target: Density) -> bool:
    """Whether the proposal is known to have a density wherever the target has one."""
    if proposal is target or (isinstance(proposal, DefensiveProposal) and proposal.target is target):
        return True
    mixture = mixture_of(proposal)
    if mixture is not None:
        return any(_covers(component, target) for component in mixture.components)
    factors = proposal.components if isinstance(proposal, Product) else (proposal,)
    if not all(isinstance(factor, FILL_THEIR_SUPPORT) for factor in factors):
        return False
    return not _narrower(proposal.support, support_of(target))


def covers_whatever_the_numbers(proposal: Distribution) -> bool:
    """Whether a proposal of this structure is positive on the whole line, whatever its parameters."""
    if not isinstance(proposal, FILL_THEIR_SUPPORT):
        return False
    support = support_of(proposal)
    return support is not None and not _narrower(support, None)


def _narrower(inner: tuple[PyTree, PyTree] | None, outer: tuple[PyTree, PyTree] | None) -> bool:
    """Whether bounds of `inner` are known to lie inside those of `outer` (None: the whole line)."""
    if inner is None:
        return False
    whole_line = (np.asarray(-np.inf), np.asarray(np.inf))
    sides = [concrete(side) for side in (*inner, *(outer or whole_line))]
    if any(side is None for side in sides):
        return False
    inner_low, inner_high, outer_low, outer_high = sides
    return bool(np.any(inner_low > outer_low) or np.any(inner_high < outer_high))
