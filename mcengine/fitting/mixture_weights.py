"""`choose_mixture_weights`: the weights of a mixture that minimise the variance, found by a pilot and then fixed."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.controls.controls import Components
from mcengine.distributions import Distribution, Mixture, as_distribution
from mcengine.engine.budgets import Samples
from mcengine.engine.validation import check_events, check_key, check_support
from mcengine.execution.block_plan import MAX_BLOCK, BlockPlan
from mcengine.execution.collect import collect_blocks
from mcengine.execution.draw import WeightedBlock
from mcengine.execution.task import SamplingTask
from mcengine.numerics.tracing import is_traced, traced
from mcengine.points import IID
from mcengine.problems.protocol import Problem
from mcengine.proposals import MultiSample
from mcengine.proposals.mixture import mixture_of
from mcengine.weights.weighting import Raw

# The minimisation stops when log(variance x cost) is within this of its minimum; convexity gives the bound.
GAP = 1e-8
MAX_STEPS = 5_000
# The pilot's variance is raised to this share of its second moment: below, with a nearly perfect component, it is
# rounding error.
LEAST_VARIANCE = 1e-3

# `Mixture`, or a proposal that wraps one: the result has the type of the argument.
MixtureProposal = TypeVar("MixtureProposal", bound=Distribution)


def choose_mixture_weights(
    key: PRNGKeyArray,
    problem: Problem,
    mixture: MixtureProposal,
    *,
    budget: Samples = Samples(4_096),
    costs: Sequence[float] | Float[np.ndarray, " k"] | None = None,
    floor: float = 0.05,
) -> MixtureProposal:
    """The mixture with the weights alpha that minimise variance times cost under the balance heuristic, by a pilot.

    Var(alpha) = E_eq[(p f / q_eq)^2 / sum_k alpha_k r_k] - mu^2,  r_k = q_k / q_eq, q_eq = mean_k q_k, cost(alpha) =
    sum_k alpha_k costs_k. The pilot draws from q_eq, whatever the mixture's own weights are; the variance is convex in
    alpha. If f has several outputs, the objective is the sum of their relative variances. Estimate with another key:

        chosen = mc.choose_mixture_weights(key, problem, mc.mixture(components))
        result = mc.estimate(other_key, problem, chosen, budget=...)

    **Arguments:**

    - `key`: a key of `jax.random.key`.
    - `problem`: an `Expectation`, `Integral` or `Probability`.
    - `mixture`: a `Mixture` of K components, or a proposal that wraps one, as `defensive` does.
    - `budget`: the pilot's number of samples.
    - `costs` [K]: of one sample of each component, in any unit; equal by default.
    - `floor`, in (0, 1]: the smallest weight of a component, as a fraction of the equal weight 1/K. A pilot cannot
      prove that a component is useless. Since q_alpha >= floor q_eq, the second moment is at most 1/floor of that with
      equal weights, whatever the pilot missed. The floor is raised to 1/sqrt(ESS) of the squares of p f / q_eq.

    **Returns:** `mixture` with other weights. If all samples of the pilot have f = 0, its weights stay as they were,
    with a `RuntimeWarning`. Samples with a non-finite f are left out here; the estimate counts them.

    **Raises:** `ValueError` for a floor outside (0, 1] or costs that are not K positive numbers; `TypeError` for a
    proposal without a mixture, for fixed counts (derive them afterwards: `multi_sample(chosen, total=...)`), and inside
    a trace.

    Fails silently in two cases: with unequal costs variance times cost is not convex, and the minimum may be a local
    one; fixed counts remove the variance between components, which the formula contains.

    Source: H. He and A. Owen (2014), arXiv:1411.3954, section 4; M. Sbert, V. Havran, L. Szirmay-Kalos (2016),
    Variance analysis of multi-sample and one-sample multiple importance sampling, Computer Graphics Forum 35.
    """
    key = check_key("choose_mixture_weights", key)
    proposal = as_distribution(mixture)
    inner = mixture_of(proposal)
    if inner is None or isinstance(proposal, MultiSample):
        raise TypeError(
            f"choose_mixture_weights: needs a mixture whose weights may change, got {type(proposal).__name__}; see "
            "mc.mixture, and mc.multi_sample(chosen, total=...) for fixed counts in proportion to the chosen weights."
        )
    if not isinstance(budget, Samples):
        raise TypeError(f"choose_mixture_weights: budget must be mc.Samples(n), got {budget!r}.")
    if is_traced((key, problem, proposal)):
        raise TypeError(
            "choose_mixture_weights: it minimises in float64 on the host and cannot be called inside jit or vmap."
        )
    num = len(inner.components)
    if isinstance(floor, bool) or not 0.0 < floor <= 1.0:
        raise ValueError(f"choose_mixture_weights: floor must lie in (0, 1], got {floor}.")
    cost_of = np.ones(num) if costs is None else np.asarray(costs, np.float64)
    if cost_of.shape != (num,) or not np.all((cost_of > 0) & np.isfinite(cost_of)):
        raise ValueError(
            f"choose_mixture_weights: costs must be {num} positive numbers, one per component, got {cost_of}."
        )
    equal = Mixture(inner.components, np.full(num, 1.0 / num))
    check_events(problem, equal)
    check_support(problem, equal)
    with traced("the integrand"):
        pilot = _run_pilot(key, problem, equal, budget.count)
    if pilot is None:
        warnings.warn(
            "choose_mixture_weights: all samples of the pilot have f = 0; the weights stay as they were.",
            RuntimeWarning,
            stacklevel=2,
        )
        return cast(MixtureProposal, proposal)
    # A pilot with few hits must not decide much: its floor is higher.
    least = max(floor, pilot.effective_size**-0.5) / num
    chosen = jnp.asarray(least_variance_weights(pilot, cost_of, least), numerics.float_dtype())
    return eqx.tree_at(lambda tree: cast(Mixture, mixture_of(tree)).weights, proposal, chosen)


class WeightPilot(NamedTuple):
    """Samples of the equal mixture: a = (p f / q_eq)^2 over the squared mean |p f / q_eq|, ratios r_k = q_k / q_eq, and
    mu^2 on the scale of a."""

    squares: Float[np.ndarray, " n"]
    ratios: Float[np.ndarray, "n k"]
    squared_mean: float

    @property
    def effective_size(self) -> float:
        """The effective number of samples of the second moment, (sum a)^2 / sum a^2: at least 1."""
        return float(np.sum(self.squares) ** 2 / np.sum(self.squares**2))


def least_variance_weights(pilot: WeightPilot, costs: Float[np.ndarray, " k"], least: float) -> Float[np.ndarray, " k"]:
    """The weights, each at least `least`, that minimise variance(alpha) cost(alpha) over the pilot's samples.

    With pi_k = alpha_k r_k / (r . alpha), convexity gives 1 / (r . beta) <= sum_k pi_k^2 / (beta_k r_k), and log x
    lies below its tangents. So log(V C) at beta is at most a constant plus

        sum_k c_k / (beta_k V) + beta_k costs_k / C,   c_k = alpha_k^2 mean[a r_k / (r . alpha)^2],

    with equality at beta = alpha. Its minimum, at beta_k^2 = c_k / V / (costs_k / C + nu), is a multiplicative step
    that never raises V C. For equal costs it is the step of Silvey, Titterington and Torgersen (1978) for optimal
    designs.
    """
    alpha = np.full(len(costs), 1.0 / len(costs))
    for _ in range(MAX_STEPS):
        density = pilot.ratios @ alpha
        moment = np.mean(pilot.squares / density)
        variance = max(moment - pilot.squared_mean, LEAST_VARIANCE * moment)
        slopes = pilot.ratios.T @ (pilot.squares / density**2) / (len(density) * variance)
        relative_costs = costs / (costs @ alpha)
        descent = slopes - relative_costs
        # The largest decrease along the tangent, at a corner of the simplex with floor.
        corner = least * descent.sum() + (1.0 - least * len(costs)) * descent.max()
        if corner - descent @ alpha < GAP:
            break
        alpha = _floored_step(alpha * np.sqrt(slopes), relative_costs, least)
    return alpha


def _floored_step(
    roots: Float[np.ndarray, " k"], relative_costs: Float[np.ndarray, " k"], least: float
) -> Float[np.ndarray, " k"]:
    """max(least, roots_k / sqrt(relative_costs_k + nu)) with the nu that makes them sum to 1, by bisection."""

    roots = np.maximum(roots, 1e-12 * roots.max())
    above = relative_costs - relative_costs.min()

    def step_at(excess: float) -> Float[np.ndarray, " k"]:
        return np.maximum(least, roots / np.sqrt(above + excess))

    # At the lower end the cheapest component alone has weight 2.
    low, high = 0.25 * np.max(roots[above == 0]) ** 2, 1.0
    while step_at(high).sum() > 1.0:
        high *= 4.0
    for _ in range(100):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if step_at(middle).sum() > 1.0 else (low, middle)
    step = step_at(high)
    return step / step.sum()


def _run_pilot(key: PRNGKeyArray, problem: Problem, equal: Mixture, count: int) -> WeightPilot | None:
    task = SamplingTask(problem, equal, IID(), Raw(), controls=Components())
    size = min(count, MAX_BLOCK)
    blocks = jax.device_get(collect_blocks(task, key, count, BlockPlan(size, size, 0, 1), read=_densities))
    log_w, values, log_terms = (
        np.concatenate([np.asarray(leaf, np.float64) for leaf in leaves], axis=-1)[..., :count]
        for leaves in zip(*blocks, strict=True)
    )
    usable = np.isfinite(log_w) & np.all(np.isfinite(values), axis=0)
    scaled = np.where(usable, np.exp(np.where(usable, log_w - np.max(log_w[usable], initial=-np.inf), 0.0)), 0.0)
    y = scaled * np.where(usable, values, 0.0)
    mean_size = np.mean(np.abs(y), axis=1)
    if not np.any(mean_size > 0):
        return None
    y = y[mean_size > 0] / mean_size[mean_size > 0][:, None]
    # q_k / q_eq = K (q_k / K) / sum_k (q_k / K), from logs.
    top = np.max(log_terms, axis=0)
    terms = np.exp(log_terms - top)
    ratios = len(terms) * terms / terms.sum(axis=0)
    return WeightPilot(np.sum(y**2, axis=0), ratios.T, float(np.sum(np.mean(y, axis=1) ** 2)))


def _densities(block: WeightedBlock) -> tuple[Float[Array, " n"], Float[Array, "C n"], Float[Array, "K n"]]:
    """(log w, f, log(q_k / K)) of a block."""
    assert block.log_w is not None
    assert block.log_terms is not None  # a mixture whose components are controls
    leaves = jax.tree.leaves(block.value)
    columns = [leaf.astype(numerics.float_dtype()).reshape(-1, leaf.shape[-1]) for leaf in leaves]
    return block.log_w, jnp.concatenate(columns), block.log_terms
