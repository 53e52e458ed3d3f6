"""What is known besides of market models: how often a single day is bad, and prices with a closed form."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import Controls
from mcengine.distributions import StudentT
from mcengine.finance.path_options import PathOption
from mcengine.numerics.values import as_parameter
from mcengine.problems.exact_distributions import NormalLaw
from mcengine.problems.expectation import Expectation
from mcengine.problems.probability import Probability


class BadDayCounts(eqx.Module):
    """h_j(r) = how many of the days lose levels_j or more."""

    levels: Float[Array, " levels"] = eqx.field(converter=as_parameter)

    def __call__(self, log_returns: Float[Array, " days"]) -> Float[Array, " levels"]:
        bad = -log_returns[None, :] >= self.levels[:, None]
        return jnp.sum(bad, axis=1, dtype=self.levels.dtype)


def exceedance_counts(problem: Probability, shares=(1.0, 0.8, 0.6), pilot: int | None = None) -> Controls:
    """How many days lose at least each of `shares` of the fall on their own; means n P(r <= -share threshold).

    With heavy tails an index falls in one day, so that these counts and the fall nearly go together.

    **Raises:** `TypeError` for a problem that is no `index_fall`; `ValueError` for shares that are not positive.
    """
    target = problem.target
    if not (isinstance(target, StudentT) and target.loc.ndim == 1):
        raise TypeError(
            f"exceedance_counts: it is for a Student-t of several days (finance.index_fall), not for {target}."
        )
    shares = np.atleast_1d(np.asarray(shares, np.float64))
    if not np.all(shares > 0):
        raise ValueError(f"exceedance_counts: shares of the fall must be positive, got {shares}.")
    from scipy import special  # 0.2 s, which `import mcengine` need not pay

    df, loc, scale = (np.asarray(x, np.float64) for x in (target.df, target.loc, target.scale))
    counts = BadDayCounts(shares * float(problem.threshold))
    # The levels as the kernels see them.
    levels = np.asarray(counts.levels, np.float64)
    means = np.sum(special.stdtr(df, (-levels[:, None] - loc) / scale), axis=1)
    return Controls(counts, means, pilot)


class Underlying(eqx.Module):
    """h(z) = exp(-rate T) (end of the path, average of the path), in units of the spot."""

    option: PathOption

    def __call__(self, z: Float[Array, " steps"]) -> Float[Array, "2"]:
        path = self.option.path(z)
        return self.option.discount / self.option.spot * jnp.stack([path.final, path.average])


def underlying(problem: Expectation, pilot: int | None = None) -> Controls:
    """The discounted end and average of an option's own path; E[S_k] = spot (1 + rate T / n)^k in either scheme.

    **Raises:** `TypeError` for a problem that is no `path_option`.
    """
    option, steps = _option_of(problem, "underlying")
    rate, years = float(option.model.rate), float(option.maturity_years)
    means = (1.0 + rate * years / steps) ** np.arange(steps + 1)
    average = np.mean(0.5 * (means[1:] + means[:-1]))
    return Controls(Underlying(option), math.exp(-rate * years) * np.asarray([means[-1], average]), pilot)


class LognormalCall(eqx.Module):
    """h(z) = exp(log_discount) max(exp(log_mean + slopes . z) - strike, 0)."""

    log_mean: Float[Array, ""] = eqx.field(converter=as_parameter)
    slopes: Float[Array, " steps"] = eqx.field(converter=as_parameter)
    strike: Float[Array, ""] = eqx.field(converter=as_parameter)
    log_discount: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, z: Float[Array, " steps"]) -> Float[Array, ""]:
        price = jnp.exp(self.log_mean + jnp.sum(self.slopes * z))
        return jnp.exp(self.log_discount) * jnp.maximum(price - self.strike, 0.0)


def lognormal_twin(problem: Expectation, pilot: int | None = None) -> Controls:
    """The same call on what is lognormal: the end of the exact path, or for an average the geometric one of it.

    Driven by the same increments, it moves with the option's payoff; with log G ~ N(m, v) its price is

        exp(-rate T) (exp(m + v/2) Phi(d + sqrt(v)) - strike Phi(d)),  d = (m - log strike) / sqrt(v).

    Source: A. Kemna and A. Vorst, A pricing method for options based on average asset values, J. Banking and Finance
    14 (1990), for the geometric average.

    **Raises:** `TypeError` for a problem that is no `path_option`.
    """
    option, steps = _option_of(problem, "lognormal_twin")
    rate, volatility = float(option.model.rate), float(option.model.volatility)
    years, spot, strike = (float(x) for x in (option.maturity_years, option.spot, option.strike))
    # The share of increment j = 1..n in log G: all of it at the end, sum_(k >= j) w_k in a trapezoidal average.
    averages = option.payoff == "asian"
    shares = (steps + 0.5 - np.arange(1, steps + 1)) / steps if averages else np.ones(steps)
    slopes = volatility * math.sqrt(years / steps) * shares
    mean = math.log(spot) + (rate - 0.5 * volatility**2) * years * (0.5 if averages else 1.0)
    variance = float(np.sum(slopes**2))
    d = (mean - math.log(strike)) / math.sqrt(variance)
    below_1, below_2 = (float(NormalLaw(0.0, 1.0).exceedance(-x)) for x in (d + math.sqrt(variance), d))
    price = math.exp(-rate * years) * (math.exp(mean + 0.5 * variance) * below_1 - strike * below_2)
    return Controls(LognormalCall(mean, slopes, strike, -rate * years), price, pilot)


def _option_of(problem: Expectation, name: str) -> tuple[PathOption, int]:
    option = problem.integrand
    if not isinstance(option, PathOption):
        raise TypeError(f"{name}: it is for an option on a path (finance.path_option), not for {option}.")
    return option, problem.target.loc.shape[0]
