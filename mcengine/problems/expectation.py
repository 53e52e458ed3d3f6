"""The expectation of a function of a random variable."""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from mcengine.distributions.foreign import as_density
from mcengine.distributions.protocol import Density
from mcengine.problems.exact_distributions import ExactDistribution, as_exact
from mcengine.problems.protocol import Problem


class Expectation(Problem):
    """mu = E_p[f(X)] = int f(x) p(x) dx.

    **Arguments:** `integrand` f, from one sample to an array or a pytree of arrays; `target` p, a distribution of
    mcengine, numpyro, distrax, TFP or flowjax, or an object with `log_prob` alone if every estimate is given a
    proposal. If p is known up to a constant only, use a self-normalised `weighting`. `exact` and `exact_law`: the true
    value and the distribution of f(X), for tests and tables.

    Functions are static: a new lambda is a new compilation. Put parameters of an integrand into an `equinox.Module` or
    a `jax.tree_util.Partial`; a new number then compiles nothing.
    """

    integrand: Callable[[Any], Any]
    target: Density = eqx.field(converter=as_density)
    exact: Any = eqx.field(converter=as_exact, default=None, kw_only=True)
    exact_law: ExactDistribution | None = eqx.field(default=None, kw_only=True)
