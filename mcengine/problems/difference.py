"""Common random numbers: the difference of two expectations, with the error bar of the paired difference."""

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine import weights
from mcengine.distributions import Distribution, as_distribution, event_struct, is_transport
from mcengine.distributions.foreign import family_name
from mcengine.distributions.protocol import Density, can_be_sampled, same_distribution
from mcengine.numerics.arrays import AnyScalar
from mcengine.numerics.tracing import traced
from mcengine.problems.coupling import Coupling, OwnWeights
from mcengine.problems.exact_distributions import as_exact
from mcengine.problems.protocol import Problem, check_problem


@runtime_checkable
class HasStandardErrors(Protocol):
    """A result of `estimate` or `replicate`."""

    @property
    def std_error(self) -> Any: ...


class Difference(Problem):
    """E[f_1] - E[f_2], or both and their difference: the problem that `difference` makes.

    **Arguments:** `first` and `second`, problems; `coupling` of their samples, None where both use the same x; `size`,
    numbers in a value of each problem.
    """

    first: Problem
    second: Problem
    coupling: Coupling | None
    size: int = eqx.field(static=True)
    only_difference: bool = eqx.field(static=True)
    exact: Any = eqx.field(converter=as_exact, default=None)

    @property
    def plain(self) -> Density:
        return self.first.plain if self.coupling is None else self.coupling

    @property
    def target(self) -> Density:
        if self.coupling is None:
            return self.first.target
        if self.coupling.targets is None:
            return self.coupling
        return OwnWeights(self.size, self.only_difference)

    def integrand(self, x: Any) -> Any:
        """f_1, f_2 and their difference at one sample (or pair of samples)."""
        if self.coupling is None:
            return _outcome(self.first.integrand(x), self.second.integrand(x), self.only_difference)
        first, second = self.first.integrand(x.first), self.second.integrand(x.second)
        if x.log_w is None:
            return _outcome(first, second, self.only_difference)
        # w_1 f_1 - w_2 f_2 over the larger weight, which is the weight of the difference: rare events do not underflow.
        larger = jnp.maximum(*x.log_w)
        scaled_first, scaled_second = (
            _times(weights.from_log(weights.log_ratio(log_w, larger)), value)
            for log_w, value in zip(x.log_w, (first, second), strict=True)
        )
        difference = jax.tree.map(jnp.subtract, scaled_first, scaled_second)
        return difference if self.only_difference else {"difference": difference, "first": first, "second": second}


def difference(
    first: Problem,
    second: Problem,
    proposals: Sequence[Distribution] | None = None,
    *,
    only_difference: bool = False,
) -> Difference:
    """E[f_1] - E[f_2] by common random numbers, with the error bar of the paired difference.

    Var(difference) = Var(f_1) + Var(f_2) - 2 Cov(f_1, f_2). There are two cases:

    - **one target**: the problems have equal targets and there are no `proposals`. Both integrands are evaluated at the
      same x. `estimate` takes any proposal; both problems share its weight p / q.
    - **the same uniforms**: each problem maps the same uniforms to its own x, by its plain sampler or by its one of the
      `proposals`, with its own weight. Both samplers must be transports. If they are of one family, x_1 and x_2 move
      together. If one needs more uniforms, the other takes the first of them.

    A `Tolerance` must be met by every output, so use `only_difference=True` with it.

    **Arguments:**

    - `first` and `second`: problems whose values have the same structure.
    - `proposals`: a pair, one for each problem.
    - `only_difference`: whether the difference alone is estimated, or both values too.

    **Returns:** a problem whose value is `{"first": E[f_1], "second": E[f_2], "difference": ...}`, or the difference
    alone. `pairing_gain` of its estimate compares it with independent runs.

    **Raises:** `TypeError` for an argument that is not a problem, and for samplers that must share uniforms and are not
    transports; `ValueError` for values of different structures, and for proposals of another event shape. In the second
    case `estimate` refuses a proposal, since its samples are not pairs.

    Fails silently when f_1 - f_2 is rounding error: in float32 for finite differences of a relative bump below 1e-4.
    The error bar shows the spread of the rounding error, but not its bias.

    Source: P. Glasserman and D. Yao, Some guidelines and guarantees for common random numbers, Management Science 38
    (1992), 884-908.
    """
    for which, problem in (("first", first), ("second", second)):
        check_problem(f"difference: the {which} problem must be", problem)
    exact = None
    if first.exact is not None and second.exact is not None:
        exact = _outcome(first.exact, second.exact, only_difference)
    first, second = first.without_answers(), second.without_answers()
    coupling = _coupling(first, second, None if proposals is None else _pair_of_proposals(proposals))
    return Difference(first, second, coupling, _common_size(first, second, coupling), only_difference, exact)


def pairing_gain(result: HasStandardErrors) -> PyTree[Float[np.ndarray, "..."] | np.floating]:
    """The variance of the difference of two independent runs over that of the paired one, for equal sample counts.

    (s_1^2 + s_2^2) / s_difference^2 with the standard errors s of the result. Values below 1 mean that the two problems
    are negatively correlated.

    **Arguments:** `result`, the estimate of a `difference`.

    **Returns:** a tree of the structure of the difference.

    **Raises:** `ValueError` for the result of another problem, or of `only_difference=True`.
    """
    errors = result.std_error
    if not (isinstance(errors, dict) and set(errors) == {"difference", "first", "second"}):
        raise ValueError("pairing_gain: needs a result of mc.difference with all three values (only_difference=False).")

    def gain(difference: AnyScalar, first: AnyScalar, second: AnyScalar) -> Float[np.ndarray, "..."] | np.floating:
        return np.divide(np.square(first) + np.square(second), np.square(difference))

    with np.errstate(divide="ignore", invalid="ignore"):
        return jax.tree.map(gain, errors["difference"], errors["first"], errors["second"])


def _outcome(first: Any, second: Any, only_difference: bool) -> Any:
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return difference if only_difference else {"difference": difference, "first": first, "second": second}


def _times(weight: Float[Array, "..."], value: Any) -> Any:
    """The value times its weight, which is a scalar or one number for each number of the value, in leaf order."""
    if weight.ndim == 0:
        return jax.tree.map(lambda leaf: weight * leaf, value)
    flat, unflatten = jax.flatten_util.ravel_pytree(value)
    return unflatten(weight * flat)


def _coupling(first: Problem, second: Problem, proposals: tuple[Distribution, Distribution] | None) -> Coupling | None:
    """The coupling of the samples of two problems; None where both use the same x."""
    shares_x = same_distribution(first.target, second.target) and same_distribution(first.plain, second.plain)
    if proposals is None and shares_x:
        return None
    sources = (as_distribution(first.plain), as_distribution(second.plain)) if proposals is None else proposals
    transports = [source for source in sources if is_transport(source)]
    if len(transports) < 2:
        lacking = [family_name(source) for source in sources if not is_transport(source)]
        raise TypeError(
            "difference: problems with different targets share uniforms, which needs transports (num_uniforms and "
            f"forward(v)), and {' and '.join(dict.fromkeys(lacking))} is not one. Give a pair of proposals that are."
        )
    for source, problem, which in zip(sources, (first, second), ("first", "second"), strict=True):
        _check_event(source, problem, which)
    weighted = proposals is not None or any(problem.plain is not problem.target for problem in (first, second))
    return Coupling((transports[0], transports[1]), (first.target, second.target) if weighted else None)


def _check_event(source: Distribution, problem: Problem, which: str) -> None:
    if not can_be_sampled(problem.plain):
        return  # a target known by its density alone
    offered, wanted = (
        jax.tree.map(lambda leaf: leaf.shape, event_struct(distribution))
        for distribution in (source, as_distribution(problem.plain))
    )
    if offered != wanted:
        raise ValueError(f"difference: the {which} proposal's samples have shape {offered}, its target's {wanted}.")


def _pair_of_proposals(proposals: Sequence[Distribution]) -> tuple[Distribution, Distribution]:
    if not isinstance(proposals, list | tuple) or len(proposals) != 2:
        raise TypeError(f"difference: proposals must be a pair, one for each problem, got {proposals!r}.")
    return as_distribution(proposals[0]), as_distribution(proposals[1])


def _common_size(first: Problem, second: Problem, coupling: Coupling | None) -> int:
    """The number of numbers in a value of each problem; 0 where a sample's shape is not known yet."""
    sources = (first.plain, second.plain) if coupling is None else coupling.sources
    samplers = [source for source in sources if can_be_sampled(source)]
    if len(samplers) < 2:
        return 0  # targets known by their density alone, with a proposal to come
    with traced("the integrand"):
        values = [
            jax.eval_shape(problem.integrand, event_struct(source))
            for problem, source in zip((first, second), samplers, strict=True)
        ]
    shapes = [jax.tree.map(lambda leaf: leaf.shape, value) for value in values]
    if shapes[0] != shapes[1]:
        raise ValueError(f"difference: the first problem's values have shape {shapes[0]}, the second's {shapes[1]}.")
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(values[0]))
