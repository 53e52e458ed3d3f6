"""Control variates of market models: how many days lose a lot by themselves, and prices with a closed form."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.controls.controls import Controls
from mcengine.distributions import StudentT
from mcengine.finance.path_options import PathOption
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.exact_distributions import ExactNormal
from mcengine.problems.expectation import Expectation
from mcengine.problems.probability import Probability


class ExceedanceCounts(eqx.Module):
    """h_j(r) = the number of days whose loss -r_t is levels_j or more."""

    levels: Float[Array, " levels"] = eqx.field(converter=as_parameter)

    def __call__(self, log_returns: Float[Array, " days"]) -> Float[Array, " levels"]:
        exceeds = -log_returns[None, :] >= self.levels[:, None]
        return jnp.sum(exceeds, axis=1, dtype=self.levels.dtype)


def exceedance_counts(
    problem: Probability,
    shares: Scalar | Sequence[int | float] | Float[np.ndarray, " levels"] = (1.0, 0.8, 0.6),
    pilot: int | None = None,
) -> Controls:
    """The number of days that lose at least share x threshold by themselves, for each of `shares`.

    The means are n P(r <= -share threshold). With heavy tails an index falls mostly in a single day, so these counts
    correlate strongly with the fall.

    **Arguments:** `problem`, an `index_fall`; `shares` of the fall, positive; `pilot`, samples that estimate the
    coefficients, as in `Controls`.

    **Raises:** `TypeError` for a problem that is not an `index_fall`; `ValueError` for shares that are not positive.
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
    counts = ExceedanceCounts(shares * float(problem.threshold))
    # The means belong to the levels after rounding to the dtype of the kernels.
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
    """The discounted final price and average price of the option's own path, in units of the spot.

    E[S_k] = spot (1 + rate T / n)^k after k of n steps, in either scheme.

    **Arguments:** `problem`, a `path_option`; `pilot` as in `Controls`.

    **Raises:** `TypeError` for a problem that is not a `path_option`.
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
    """The same call on a lognormal G: the final price of the exact path, or for "asian" its geometric average.

    G has the same Brownian increments, so its payoff correlates with the option's. With log G ~ N(m, v) its price is

        exp(-rate T) (exp(m + v/2) Phi(d + sqrt(v)) - strike Phi(d)),  d = (m - log strike) / sqrt(v).

    **Arguments:** `problem`, a `path_option`; `pilot` as in `Controls`.

    **Raises:** `TypeError` for a problem that is not a `path_option`.

    Source: A. Kemna and A. Vorst, A pricing method for options based on average asset values, J. Banking and Finance
    14 (1990), for the geometric average.
    """
    option, steps = _option_of(problem, "lognormal_twin")
    rate, volatility = float(option.model.rate), float(option.model.volatility)
    years, spot, strike = (float(x) for x in (option.maturity_years, option.spot, option.strike))
    # The coefficient of increment j = 1..n in log G: 1 for the final price, sum_(k >= j) w_k for trapezoidal weights w.
    is_average = option.payoff == "asian"
    coefficients = (steps + 0.5 - np.arange(1, steps + 1)) / steps if is_average else np.ones(steps)
    slopes = volatility * math.sqrt(years / steps) * coefficients
    mean = math.log(spot) + (rate - 0.5 * volatility**2) * years * (0.5 if is_average else 1.0)
    variance = float(np.sum(slopes**2))
    d = (mean - math.log(strike)) / math.sqrt(variance)
    below_1, below_2 = (float(ExactNormal(0.0, 1.0).exceedance(-x)) for x in (d + math.sqrt(variance), d))
    price = math.exp(-rate * years) * (math.exp(mean + 0.5 * variance) * below_1 - strike * below_2)
    return Controls(LognormalCall(mean, slopes, strike, -rate * years), price, pilot)


def _option_of(problem: Expectation, name: str) -> tuple[PathOption, int]:
    option = problem.integrand
    if not isinstance(option, PathOption):
        raise TypeError(f"{name}: it is for an option on a path (finance.path_option), not for {option}.")
    return option, problem.target.loc.shape[0]
