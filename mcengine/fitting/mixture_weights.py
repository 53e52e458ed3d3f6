"""`choose_mixture_weights`: how many samples each component of a mixture deserves, found by a pilot and then fixed."""

import warnings
from functools import partial
from typing import Any, NamedTuple, no_type_check

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.controls.controls import Components
from mcengine.distributions import Mixture, as_distribution
from mcengine.engine.budgets import Samples
from mcengine.engine.validation import check_events, check_key, check_support
from mcengine.execution.block_plan import MAX_BLOCK
from mcengine.execution.draw import draw_weighted
from mcengine.execution.task import SamplingTask
from mcengine.numerics.partition import StaticPart, combine, partition
from mcengine.numerics.tracing import is_traced, traced
from mcengine.points import IID
from mcengine.proposals.mixture import mixture_of
from mcengine.weights.weighting import Raw

# The steps never raise what they minimise; they end within so much of its least, by the bound of convexity.
GAP = 1e-8
MAX_STEPS = 5_000
# Where a component is nearly perfect the pilot's variance is rounding: so much of the second moment stands for it.
LEAST_VARIANCE = 1e-3


@no_type_check  # it checks its arguments in the user's words
def choose_mixture_weights(
    key: ArrayLike,
    problem: Any,
    mixture: Any,
    *,
    budget: Samples = Samples(4_096),
    costs: Any = None,
    floor: float = 0.05,
) -> Any:
    """The mixture with the shares alpha that make the balance heuristic's variance times cost least, by a pilot.

    Var(alpha) = E_eq[(p f / q_eq)^2 / sum_k alpha_k r_k] - mu^2,  r_k = q_k / q_eq, q_eq = mean_k q_k, cost(alpha) =
    sum_k alpha_k costs_k. The pilot draws from q_eq, whatever the mixture's own weights; the variance is convex in
    alpha. Where f has several outputs it is the sum of their relative variances. Estimate afterwards with another key:

        chosen = mc.choose_mixture_weights(key, problem, mc.mixture(components))
        result = mc.estimate(other_key, problem, chosen, budget=...)

    **Arguments:** `mixture`, a `Mixture` or a proposal that wraps one, as `defensive` does; `budget`, samples of the
    pilot; `costs`, of one sample of each component, in any unit; `floor`, the least share that a component keeps, as a
    part of the equal share 1/K. Above 0, since a pilot cannot show that a component is of no use: q_alpha >= floor
    q_eq, so the second moment is never more than 1/floor of that with equal shares, whatever the pilot missed. It is
    raised to 1/sqrt(ESS) where few samples of the pilot carry the second moment.

    **Returns:** what `mixture` is, with other weights. If the pilot meets no f != 0, nothing changes and a
    `RuntimeWarning` says so. Samples where f is not finite are left out; the estimate will count them.

    **Raises:** `ValueError` for a floor outside (0, 1] or costs that are not K positive numbers; `TypeError` for what
    is no mixture, has fixed counts (make those of the result: `multi_sample(chosen, total=...)`), or is traced.

    When it lies: unequal costs make the product of variance and cost nonconvex, so its least is a local one. Fixed
    counts take away variance between components, which is not in the formula.

    Source: H. He and A. Owen (2014), arXiv:1411.3954, section 4; M. Sbert, V. Havran, L. Szirmay-Kalos (2016),
    Variance analysis of multi-sample and one-sample multiple importance sampling, Computer Graphics Forum 35.
    """
    key = check_key("choose_mixture_weights", key)
    mixture = as_distribution(mixture)
    inner = mixture_of(mixture)
    if not isinstance(inner, Mixture) or hasattr(mixture, "counts"):
        raise TypeError(
            f"choose_mixture_weights: needs a mixture whose weights may change, got {type(mixture).__name__}; see "
            "mc.mixture, and mc.multi_sample(chosen, total=...) for fixed counts of the shares found."
        )
    if not isinstance(budget, Samples):
        raise TypeError(f"choose_mixture_weights: budget must be mc.Samples(n), got {budget!r}.")
    if is_traced((key, problem, mixture)):
        raise TypeError(
            "choose_mixture_weights: it minimises in float64 on the host and cannot be called inside jit or vmap."
        )
    num = len(inner.components)
    if isinstance(floor, bool) or not 0.0 < floor <= 1.0:
        raise ValueError(f"choose_mixture_weights: floor must lie in (0, 1], got {floor}.")
    costs = np.ones(num) if costs is None else np.asarray(costs, np.float64)
    if costs.shape != (num,) or not np.all((costs > 0) & np.isfinite(costs)):
        raise ValueError(
            f"choose_mixture_weights: costs must be {num} positive numbers, one per component, got {costs}."
        )
    equal = Mixture(inner.components, np.full(num, 1.0 / num))
    check_events(problem, equal)
    check_support(problem, equal)
    with traced("the integrand"):
        pilot = _pilot(key, problem, equal, budget.count)
    if pilot is None:
        warnings.warn(
            "choose_mixture_weights: no sample of the pilot met f != 0; the weights stay as they were.",
            RuntimeWarning,
            stacklevel=2,
        )
        return mixture
    # A pilot of few hits must not say much: at worst the second moment is 1/floor of that with equal shares.
    least = max(floor, pilot.effective_size**-0.5) / num
    shares = jnp.asarray(least_variance_weights(pilot, costs, least), numerics.float_dtype())
    return eqx.tree_at(lambda tree: mixture_of(tree).weights, mixture, shares)


class WeightPilot(NamedTuple):
    """Samples of the equal mixture: a = (p f / q_eq)^2 over the squared mean |p f / q_eq|, ratios r_k = q_k / q_eq, and
    mu^2 on the scale of a."""

    squares: Float[np.ndarray, " n"]
    ratios: Float[np.ndarray, "n k"]
    squared_mean: float

    @property
    def effective_size(self) -> float:
        """How many samples carry the second moment, (sum a)^2 / sum a^2: at least 1."""
        return float(np.sum(self.squares) ** 2 / np.sum(self.squares**2))


def least_variance_weights(pilot: WeightPilot, costs: Float[np.ndarray, " k"], least: float) -> Float[np.ndarray, " k"]:
    """The shares, each at least `least`, that make variance(alpha) cost(alpha) least over the pilot's samples.

    With pi_k = alpha_k r_k / (r . alpha), convexity gives 1 / (r . beta) <= sum_k pi_k^2 / (beta_k r_k), and log x
    lies below its tangents. So log(V C) at beta is at most a constant plus

        sum_k c_k / (beta_k V) + beta_k costs_k / C,   c_k = alpha_k^2 mean[a r_k / (r . alpha)^2],

    with equality at beta = alpha. The least of that, at beta_k^2 = c_k / V / (costs_k / C + nu), is a multiplicative
    step that never raises V C; for equal costs that of Silvey, Titterington and Torgersen (1978) for optimal designs.
    """
    shares = np.full(len(costs), 1.0 / len(costs))
    for _ in range(MAX_STEPS):
        density = pilot.ratios @ shares
        moment = np.mean(pilot.squares / density)
        variance = max(moment - pilot.squared_mean, LEAST_VARIANCE * moment)
        slopes = pilot.ratios.T @ (pilot.squares / density**2) / (len(density) * variance)
        relative_costs = costs / (costs @ shares)
        descent = slopes - relative_costs
        # From here to the best corner of the floored simplex, along the tangent.
        corner = least * descent.sum() + (1.0 - least * len(costs)) * descent.max()
        if corner - descent @ shares < GAP:
            break
        shares = _floored_step(shares * np.sqrt(slopes), relative_costs, least)
    return shares


def _floored_step(
    roots: Float[np.ndarray, " k"], relative_costs: Float[np.ndarray, " k"], least: float
) -> Float[np.ndarray, " k"]:
    """max(least, roots_k / sqrt(relative_costs_k + nu)) with the nu that makes them sum to 1, by bisection."""

    roots = np.maximum(roots, 1e-12 * roots.max())
    above = relative_costs - relative_costs.min()

    def at(excess: float) -> Float[np.ndarray, " k"]:
        return np.maximum(least, roots / np.sqrt(above + excess))

    # The cheapest component alone reaches 2 at the lower end.
    low, high = 0.25 * np.max(roots[above == 0]) ** 2, 1.0
    while at(high).sum() > 1.0:
        high *= 4.0
    for _ in range(100):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if at(middle).sum() > 1.0 else (low, middle)
    shares = at(high)
    return shares / shares.sum()


def _pilot(key: Array, problem: Any, equal: Mixture, count: int) -> WeightPilot | None:
    dynamic, static = partition(SamplingTask(problem, equal, IID(), Raw(), None, Components()))
    size = min(count, MAX_BLOCK)
    blocks = [
        jax.device_get(_draw(dynamic, key, np.asarray(i, np.int32), static=static, size=size))
        for i in range(-(-count // size))
    ]
    log_w, values, log_terms = (
        np.concatenate([np.asarray(block[part], np.float64) for block in blocks], axis=-1)[..., :count]
        for part in range(3)
    )
    usable = np.isfinite(log_w) & np.all(np.isfinite(values), axis=0)
    scaled = np.where(usable, np.exp(np.where(usable, log_w - np.max(log_w[usable], initial=-np.inf), 0.0)), 0.0)
    y = scaled * np.where(usable, values, 0.0)
    size_of = np.mean(np.abs(y), axis=1)
    if not np.any(size_of > 0):
        return None
    y = y[size_of > 0] / size_of[size_of > 0][:, None]
    # log(q_k / K) less its sum over k: K times that is q_k / q_eq.
    top = np.max(log_terms, axis=0)
    terms = np.exp(log_terms - top)
    ratios = len(terms) * terms / terms.sum(axis=0)
    return WeightPilot(np.sum(y**2, axis=0), ratios.T, float(np.sum(np.mean(y, axis=1) ** 2)))


@partial(jax.jit, static_argnames=("static", "size"))
def _draw(dynamic: Any, key: Array, index: Array, *, static: StaticPart, size: int) -> tuple[Any, Array, Any]:
    """(log w, values of f in rows, log(q_k / K) in rows) of one block."""
    block = draw_weighted(combine(dynamic, static), key, index, size)
    rows = [leaf.astype(numerics.float_dtype()).reshape(-1, size) for leaf in jax.tree.leaves(block.value)]
    return block.log_w, jnp.concatenate(rows), block.log_terms
