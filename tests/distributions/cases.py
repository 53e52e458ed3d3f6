"""Every distribution of ours once or more: a new one is one more line, and passes what the others pass.

Asymmetric parameters throughout: symmetric ones hide errors of sign and of side.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import stats

import mcengine.distributions as md

INF = np.inf


@dataclass(frozen=True)
class Case:
    """A distribution, a SciPy law to compare it with (where there is one), and points where to compare them."""

    name: str
    make: Callable[[], Any]
    scipy: Any = None
    grid: tuple[float, ...] = ()
    off_support: tuple[Any, ...] = ()
    # All values of a discrete law, or enough of them; None for a continuous one.
    values: Any = field(default=None)


SMALL = (1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 17.0)
LINE = (-1e4, -30.0, -8.0, -2.0, -0.3, 0.0, 0.01, 1.0, 3.0, 9.0, 41.0, 2e5)
UNIT = (1e-20, 1e-6, 0.1, 0.3, 0.5, 0.9, 0.999)


def _plain_pushforward():
    # x = -log(1 - u): an exponential law by the user's own hand.
    return md.Pushforward(
        lambda u: -jnp.log1p(-u[0]), lambda x: jnp.where(x >= 0, -jnp.maximum(x, 0.0), -jnp.inf), 1, "plain", (0.0, INF)
    )


CASES = [
    Case("normal", lambda: md.Normal(1.0, 2.5), stats.norm(1.0, 2.5), LINE),
    Case("normal-vector", lambda: md.Normal([1.0, -2.0], [0.5, 3.0])),
    Case("multivariate-normal", lambda: md.MultivariateNormal([1.0, -1.0], covariance=[[2.0, 0.9], [0.9, 1.0]])),
    Case("student-t", lambda: md.StudentT(3.5, -1.0, 2.0), stats.t(3.5, -1.0, 2.0), LINE),
    Case("student-t-heavy", lambda: md.StudentT(0.7, 1.0, 0.5), stats.t(0.7, 1.0, 0.5), (*LINE, 1e15, -1e12)),
    Case("student-t-light", lambda: md.StudentT(1e6), stats.t(1e6), (-8.0, -1.0, 0.0, 0.5, 6.0)),
    Case("student-t-vector", lambda: md.StudentT([3.0, 30.0], [0.0, 5.0], 2.0)),
    Case(
        "uniform", lambda: md.Uniform(-1.0, 3.0), stats.uniform(-1.0, 4.0), (-0.9, 0.0, 2.9), (-1.1, 3.1, 1e30, -1e30)
    ),
    Case("exponential", lambda: md.Exponential(2.5), stats.expon(scale=0.4), SMALL, (-1e-9, -5.0, -1e30)),
    Case("lognormal", lambda: md.LogNormal(0.3, 0.8), stats.lognorm(0.8, scale=np.exp(0.3)), SMALL, (0.0, -1.0)),
    Case("gumbel", lambda: md.Gumbel(1.0, 2.0), stats.gumbel_r(1.0, 2.0), (-5.0, -1.0, 0.0, 1.0, 4.0, 30.0, 200.0)),
    Case("weibull", lambda: md.Weibull(1.7, 2.0), stats.weibull_min(1.7, scale=2.0), SMALL, (-0.1, -1e30)),
    Case("weibull-heavy", lambda: md.Weibull(0.5, 2.0), stats.weibull_min(0.5, scale=2.0), SMALL, (-0.1, -1e30)),
    Case(
        "generalised-pareto",
        lambda: md.GeneralisedPareto(0.3, 2.0, 1.0),
        stats.genpareto(0.3, 1.0, 2.0),
        (1.0, 1.1, 3.0, 1e3, 1e9),
        (0.9, -1e30),
    ),
    Case(
        "generalised-pareto-bounded",
        lambda: md.GeneralisedPareto(-0.4, 2.0, 1.0),
        stats.genpareto(-0.4, 1.0, 2.0),
        (1.0, 1.5, 3.0, 5.9),
        (0.9, 6.1, 1e30),
    ),
    Case(
        "generalised-pareto-exponential",
        lambda: md.GeneralisedPareto(0.0, 2.0),
        stats.expon(scale=2.0),
        (0.0, 1e-6, 1.0, 50.0),
        (-0.1,),
    ),
    Case("gamma", lambda: md.Gamma(2.5, 0.5), stats.gamma(2.5, scale=2.0), SMALL, (0.0, -1.0)),
    Case("gamma-small", lambda: md.Gamma(0.3, 2.0), stats.gamma(0.3, scale=0.5), SMALL, (-1.0,)),
    Case(
        "gamma-large",
        lambda: md.Gamma(2e4, 1.0),
        stats.gamma(2e4),
        (15e3, 19e3, 20000.0, 20100.0, 22e3),
        (-1.0,),
    ),
    Case("beta", lambda: md.Beta(2.0, 3.5), stats.beta(2.0, 3.5), UNIT, (-0.1, 1.1, 0.0, 1.0)),
    Case("beta-small", lambda: md.Beta(0.4, 0.8), stats.beta(0.4, 0.8), UNIT, (-0.1, 1.1)),
    Case("beta-large", lambda: md.Beta(3e3, 7e3), stats.beta(3e3, 7e3), (0.25, 0.3, 0.31), (1.1,)),
    Case(
        "categorical",
        lambda: md.Categorical([0.1, 0.0, 0.65, 0.25]),
        stats.rv_discrete(values=([0, 2, 3], [0.1, 0.65, 0.25])),
        (0, 2, 3),
        (-1, 4, 1),
        values=np.arange(4),
    ),
    Case("bernoulli", lambda: md.Bernoulli(0.23), stats.bernoulli(0.23), (0, 1), (-1, 2), values=np.arange(2)),
    Case(
        "poisson",
        lambda: md.Poisson(3.7),
        stats.poisson(3.7),
        (0, 1, 4, 30, 200),
        (-1,),
        values=np.arange(25),
    ),
    Case(
        "poisson-large",
        lambda: md.Poisson(1e4),
        stats.poisson(1e4),
        (9000, 10000, 10300),
        (-1,),
        values=np.arange(9400, 10600),
    ),
    Case("product", lambda: md.Product([md.Normal(1.0, 2.0), md.Exponential(0.5)])),
    Case("product-gamma", lambda: md.Product([md.Normal(1.0, 2.0), md.Gamma(3.0)])),
    Case(
        "truncated-normal",
        lambda: md.Truncated(md.Normal(1.0, 2.0), -1.0, 1.5),
        stats.truncnorm(-1.0, 0.25, 1.0, 2.0),
        (-0.99, 0.0, 1.4),
        (-1.1, 1.6),
    ),
    Case(
        "truncated-tail",
        lambda: md.Truncated(md.Normal(), 8.0, INF),
        stats.truncnorm(8.0, INF),
        (8.0, 8.1, 9.0, 12.0),
        (7.9,),
    ),
    Case(
        "truncated-gumbel",
        lambda: md.Truncated(md.Gumbel(), -INF, 2.0),
    ),
    Case(
        "mixture-alike",
        lambda: md.Mixture([md.Normal(-2.0, 0.5), md.Normal(3.0, 1.5)], [0.3, 0.7]),
    ),
    Case("mixture-unlike", lambda: md.Mixture([md.Normal(-2.0, 0.5), md.StudentT(3.0, 3.0)], [0.3, 0.7])),
    Case(
        "mixture-large",
        lambda: md.Mixture(
            [
                md.MultivariateNormal([0.0, 1.0], [[1.0, 0.0], [0.5, 1.0]]),
                md.MultivariateNormal([4.0, 1.0], [[0.5, 0.0], [0.5, 1.0]]),
            ],
            [0.6, 0.4],
        ),
    ),
    Case("mixture-gamma", lambda: md.Mixture([md.Gamma(2.0), md.Exponential(0.3)], [0.25, 0.75])),
    Case("affine", lambda: md.Affine(md.Gumbel(), 1.0, -2.0), stats.gumbel_l(1.0, 2.0), (-200.0, -3.0, 1.0, 5.0)),
    Case("affine-matrix", lambda: md.Affine(md.StudentT([5.0, 9.0]), [1.0, 2.0], factor=[[2.0, 0.0], [-1.0, 0.5]])),
    Case("pushforward", _plain_pushforward, stats.expon(), (0.0, 1.0, 20.0), (-1.0,)),
    Case("box", lambda: md.Box(-1.0, 2.0), stats.uniform(-1.0, 3.0), (-1.0, 0.3, 2.0), (-1.1, 2.1)),
    Case("box-line", lambda: md.Box(-INF, INF), stats.t(2), (*LINE, 1e18)),
    Case("box-half-line", lambda: md.Box(1.0, INF), stats.lomax(2.0, 1.0, 2.0), (1.0, 1.1, 7.0, 1e6), (0.9, -1e30)),
    Case("box-mixed", lambda: md.Box([-INF, -1.0], [2.0, 3.0])),
]
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES)
