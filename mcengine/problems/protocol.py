"""The abstract base of all problems: an integrand and the measure that it is integrated against."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import equinox as eqx

from mcengine.distributions.protocol import Density
from mcengine.problems.exact_distributions import ExactDistribution


class Problem(eqx.Module):
    """mu = int f(x) p(x) dx: the integrand f and the target p of an estimate.

    An implementation states `target` and `integrand`, as fields, properties or methods, and overrides those of the
    other members that differ from the defaults below. Everything is written for one sample x; the engine batches by
    `vmap`. Functions are static, so a new lambda means a new compilation; numbers that the integrand uses belong into
    fields, and a new number compiles nothing:

        class Call(mc.Problem):
            target: mc.Normal
            strike: jax.Array

            def integrand(self, x):
                return jnp.maximum(jnp.exp(x) - self.strike, 0.0)

    **Adding a problem to mcengine:** one file with the class in `mcengine/problems` (or in the room of its field), its
    export in the room's `__init__`, a YAML in `conf/problem` whose `_target_` is the class, and a test that compares
    estimates with a value known otherwise.
    """

    if TYPE_CHECKING:  # a type checker would take abstract variables for the first fields of every subclass

        @property
        def target(self) -> Density:
            """p, with `log_prob`; with `sample` too if `plain` is not overridden and no proposal is given."""
            ...

        def integrand(self, x: Any) -> Any:
            """f, from one sample to an array or a pytree of arrays."""
            ...
    else:
        target: eqx.AbstractVar[Density]
        integrand: eqx.AbstractVar[Callable[[Any], Any]]

    # Class variables without annotations: an annotated one would come first in the signature of a subclass that makes
    # a field of it. sup |f|, where it is known:
    value_bound = cast("float | None", None)
    # Whether f is 0 or 1: plain sampling then has the binomial's own interval.
    is_indicator = False
    # The true value and the distribution of `observable(X)`, where they are known: for tests and tables only.
    exact = cast(Any, None)
    exact_law = cast("ExactDistribution | None", None)

    @property
    def plain(self) -> Density:
        """The distribution that plain Monte Carlo draws from: the target, unless a problem says otherwise."""
        return self.target

    def observable(self, x: Any) -> Any:
        """The quantity whose distribution `Histogram` and `TailRisk` describe: f(x), and a `Probability`'s score."""
        return self.integrand(x)

    def without_answers(self) -> "Problem":
        """The problem without `exact` and `exact_law`: a kernel would carry them along as numbers."""
        fields = {field.name for field in dataclasses.fields(self)}
        known = {name: None for name in ("exact", "exact_law") if name in fields and getattr(self, name) is not None}
        return dataclasses.replace(self, **known) if known else self


def check_problem(demand: str, problem: Any) -> Problem:
    """`problem`; a `TypeError` that begins with `demand`, as in "problem must be", unless it is a `Problem`."""
    if not isinstance(problem, Problem):
        raise TypeError(f"{demand} an Expectation, an Integral, a Probability or another mc.Problem, got {problem!r}.")
    return problem
