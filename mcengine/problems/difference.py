"""Common random numbers: the difference of two expectations, with the error bar of the paired difference."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcengine import weights
from mcengine.distributions import Distribution, as_distribution, event_struct, is_transport
from mcengine.distributions.foreign import family_name
from mcengine.distributions.protocol import same_law
from mcengine.numerics.tracing import traced
from mcengine.problems.coupling import Coupling, OwnWeights
from mcengine.problems.exact_distributions import as_exact
from mcengine.problems.protocol import without_answers


class Difference(eqx.Module):
    """The problem that `difference` makes: see there.

    **Arguments:** `first` and `second`, problems; `coupling` of their samples, None where both see the same x; `size`,
    how many numbers a value has.
    """

    first: Any
    second: Any
    coupling: Coupling | None
    size: int = eqx.field(static=True)
    only_difference: bool = eqx.field(static=True)
    exact: Any = eqx.field(converter=as_exact, default=None)

    @property
    def plain(self) -> Distribution:
        return self.first.plain if self.coupling is None else self.coupling

    @property
    def target(self) -> Any:
        if self.coupling is None:
            return self.first.target
        if self.coupling.targets is None:
            return self.coupling
        return OwnWeights(self.size, self.only_difference)

    @property
    def value_bound(self) -> None:
        return None

    def integrand(self, x: Any) -> Any:
        """f_1, f_2 and their difference at one sample (or pair of samples)."""
        if self.coupling is None:
            return _outcome(self.first.integrand(x), self.second.integrand(x), self.only_difference)
        first, second = self.first.integrand(x.first), self.second.integrand(x.second)
        if x.log_w is None:
            return _outcome(first, second, self.only_difference)
        # w_1 f_1 - w_2 f_2 on the larger scale, which is the difference's own weight: rare events do not underflow.
        larger = jnp.maximum(*x.log_w)
        scaled_first, scaled_second = (
            _times(weights.from_log(weights.log_ratio(log_w, larger)), value)
            for log_w, value in zip(x.log_w, (first, second), strict=True)
        )
        difference = jax.tree.map(jnp.subtract, scaled_first, scaled_second)
        return difference if self.only_difference else {"difference": difference, "first": first, "second": second}


def difference(first: Any, second: Any, proposals: Any = None, *, only_difference: bool = False) -> Difference:
    """E[f_1] - E[f_2] by common random numbers: what the two have in common cancels, in the error bar too.

    The value is `{"first": E[f_1], "second": E[f_2], "difference": ...}`, or the difference alone, and
    Var(difference) = Var(f_1) + Var(f_2) - 2 Cov(f_1, f_2). Of two cases the first that fits is taken:

    - **one target**: both problems have equal targets, and see the same x. `estimate` takes any proposal, whose weight
      p / q they share.
    - **the same uniforms**: each problem turns them into its own x, through its own plain sampler or through its own
      one of `proposals`, with its own weight. Both samplers must be transports, best of one family: then x_1 and x_2
      move together. Where one needs more uniforms, the other takes the first of them.

    `estimate` takes it like any other problem, and `pairing_gain` of the result says what the pairing was worth. A
    `Tolerance` waits for every output, so ask it for `only_difference=True`.

    **Arguments:** `first` and `second`, problems whose values have the same structure; `proposals`, a pair, for the
    second case; `only_difference`.

    **Raises:** `TypeError` for what is no problem, and where uniforms are to be shared and a sampler is no transport;
    `ValueError` for values of different structures, and for proposals of another event shape. A proposal given to
    `estimate` in the second case is refused: its samples are no pairs.

    When it lies: f_1 - f_2 is rounded like f_1, so a finite difference of a relative bump below 1e-4 is noise in
    float32, which the error bar cannot tell from the sampling's own.

    Source: P. Glasserman and D. Yao, Some guidelines and guarantees for common random numbers, Management Science 38
    (1992), 884-908.
    """
    for which, problem in (("first", first), ("second", second)):
        if not all(hasattr(problem, name) for name in ("target", "integrand", "plain", "value_bound")):
            raise TypeError(
                f"difference: the {which} problem must be an Expectation, an Integral or a Probability, got "
                f"{problem!r}."
            )
    known = getattr(first, "exact", None), getattr(second, "exact", None)
    exact = None if known[0] is None or known[1] is None else _outcome(known[0], known[1], only_difference)
    first, second = without_answers(first), without_answers(second)
    coupling = _coupling(first, second, None if proposals is None else _pair_of_proposals(proposals))
    return Difference(first, second, coupling, _common_size(first, second, coupling), only_difference, exact)


def pairing_gain(result: Any) -> Any:
    """What the pairing of a `difference` was worth: the variance of independent runs over that of the paired one.

    (s_1^2 + s_2^2) / s_difference^2 with the standard errors s of the result, for the same number of samples of each
    problem; of the structure of the difference. Below 1 the two problems move against each other.

    **Raises:** `ValueError` for the result of another problem, or of `only_difference=True`.
    """
    errors = result.std_error
    if not (isinstance(errors, dict) and set(errors) == {"difference", "first", "second"}):
        raise ValueError("pairing_gain: needs a result of mc.difference with all three values (only_difference=False).")

    def gain(difference: Any, first: Any, second: Any) -> Any:
        return np.divide(np.square(first) + np.square(second), np.square(difference))

    with np.errstate(divide="ignore", invalid="ignore"):
        return jax.tree.map(gain, errors["difference"], errors["first"], errors["second"])


def _outcome(first: Any, second: Any, only_difference: bool) -> Any:
    difference = jax.tree.map(lambda a, b: a - b, first, second)
    return difference if only_difference else {"difference": difference, "first": first, "second": second}


def _times(weight: Array, value: Any) -> Any:
    """The value times its weight: one, or one for each of its numbers in the order of its leaves."""
    if weight.ndim == 0:
        return jax.tree.map(lambda leaf: weight * leaf, value)
    flat, unflatten = jax.flatten_util.ravel_pytree(value)
    return unflatten(weight * flat)


def _coupling(first: Any, second: Any, proposals: tuple[Any, Any] | None) -> Coupling | None:
    """None where both see the same x."""
    shares_x = same_law(first.target, second.target) and same_law(first.plain, second.plain)
    if proposals is None and shares_x:
        return None
    sources = (as_distribution(first.plain), as_distribution(second.plain)) if proposals is None else proposals
    lacking = [family_name(source) for source in sources if not is_transport(source)]
    if lacking:
        raise TypeError(
            "difference: problems with different targets share uniforms, which needs transports (num_uniforms and "
            f"forward(v)), and {' and '.join(dict.fromkeys(lacking))} is none. Give a pair of proposals that are."
        )
    for source, problem, which in zip(sources, (first, second), ("first", "second"), strict=True):
        _check_event(source, problem, which)
    weighted = proposals is not None or any(problem.plain is not problem.target for problem in (first, second))
    return Coupling(sources, (first.target, second.target) if weighted else None)


def _check_event(source: Any, problem: Any, which: str) -> None:
    if not hasattr(problem.plain, "sample"):
        return  # a target known by its density alone
    offered, wanted = (
        jax.tree.map(lambda leaf: leaf.shape, event_struct(law)) for law in (source, as_distribution(problem.plain))
    )
    if offered != wanted:
        raise ValueError(f"difference: the {which} proposal's samples have shape {offered}, its target's {wanted}.")


def _pair_of_proposals(proposals: Any) -> tuple[Any, Any]:
    if not isinstance(proposals, list | tuple) or len(proposals) != 2:
        raise TypeError(f"difference: proposals must be a pair, one for each problem, got {proposals!r}.")
    return as_distribution(proposals[0]), as_distribution(proposals[1])


def _common_size(first: Any, second: Any, coupling: Coupling | None) -> int:
    """How many numbers a value has, the same of both problems; 0 where a sample's shape is not known yet."""
    sources = (first.plain, second.plain) if coupling is None else coupling.sources
    if not all(hasattr(source, "sample") for source in sources):
        return 0  # targets known by their density alone, with a proposal to come
    with traced("the integrand"):
        values = [
            jax.eval_shape(problem.integrand, event_struct(source))
            for problem, source in zip((first, second), sources, strict=True)
        ]
    shapes = [jax.tree.map(lambda leaf: leaf.shape, value) for value in values]
    if shapes[0] != shapes[1]:
        raise ValueError(f"difference: the first problem's values have shape {shapes[0]}, the second's {shapes[1]}.")
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(values[0]))
