"""What is estimated: an integrand and the measure it is integrated against.

A problem offers the engine `target` (with `log_prob`), `integrand(x)`, `plain` (the proposal of plain Monte Carlo),
`value_bound` (sup |f| where it is known), `exact` (the true value where it is known) and `exact_law` (the law of f(X),
or of the score, where it is known: see `mcengine.laws`), the last two for tests and tables only.
Functions are static: a new lambda is a new compilation. Put parameters of an integrand into an `equinox.Module` or a
`jax.tree_util.Partial`, and a new number compiles nothing.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from mcengine.distributions.foreign import as_density
from mcengine.problems.exact_distributions import ExactDistribution, as_exact


class Expectation(eqx.Module):
    """mu = E_p[f(X)] = int f(x) p(x) dx.

    **Arguments:** `integrand` f, from one sample to an array or a pytree of arrays; `target` p, a distribution of
    mcengine, numpyro, distrax, TFP or flowjax, or an object with `log_prob` alone where there will be a proposal. If
    p is known up to a constant only, ask for a self-normalised `weighting`.
    """

    integrand: Callable[[Any], Any]
    target: Any = eqx.field(converter=as_density)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)
    exact_law: ExactDistribution | None = eqx.field(default=None, kw_only=True)

    @property
    def plain(self) -> Any:  # not always a `Distribution`: a density alone will do where there is a proposal
        return self.target

    @property
    def value_bound(self) -> float | None:
        return None
