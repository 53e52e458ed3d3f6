"""Options on a path that is simulated step by step, and the levels of ever finer steps that lead to their price."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions import Normal
from mcengine.distributions.univariate import require_positive
from mcengine.finance.paths import SCHEMES, GeometricBrownian, PathSummary, summarise_path
from mcengine.numerics.values import as_parameter
from mcengine.problems.expectation import Expectation

PAYOFFS = ("european", "asian")


class PathOption(eqx.Module):
    """exp(-rate T) max(S - strike, 0) along one discretised path, S its end ("european") or average ("asian").

    With `factor` the same on the coarse path of `factor` times longer steps, driven by the same Brownian path, is
    subtracted.

    **Arguments:** `factor`, a whole number that divides the number of steps; None for the option itself.
    """

    model: GeometricBrownian
    spot: Float[Array, ""] = eqx.field(converter=as_parameter)
    strike: Float[Array, ""] = eqx.field(converter=as_parameter)
    maturity_years: Float[Array, ""] = eqx.field(converter=as_parameter)
    payoff: str = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    factor: int | None = eqx.field(static=True)

    def __check_init__(self):
        for name, known in (("payoff", PAYOFFS), ("scheme", SCHEMES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        for name in ("spot", "strike", "maturity_years"):
            require_positive("PathOption", name, getattr(self, name))
        require_positive("PathOption", "volatility", self.model.volatility)

    def __call__(self, z: Float[Array, " steps"]) -> Float[Array, ""]:
        fine = self._value(z)
        if self.factor is None:
            return fine
        # Sums of `factor` increments, in units of their own standard deviation.
        together = jnp.sum(jnp.reshape(z, (-1, self.factor)), axis=-1) / math.sqrt(self.factor)
        return fine - self._value(together)

    @property
    def discount(self) -> Float[Array, ""]:
        """exp(-rate T)."""
        return jnp.exp(-self.model.rate * self.maturity_years)

    def path(self, z: Float[Array, " steps"]) -> PathSummary:
        """Where the path of these standardised increments ends, and its average."""
        step_years = self.maturity_years / z.shape[0]
        return summarise_path(self.model, self.scheme, self.spot, step_years, jnp.sqrt(step_years) * z)

    def _value(self, z: Float[Array, " steps"]) -> Float[Array, ""]:
        return self.discount * jnp.maximum(self._underlying(self.path(z)) - self.strike, 0.0)

    def _underlying(self, path: PathSummary) -> Float[Array, ""]:
        return path.final if self.payoff == "european" else path.average


def path_option(
    steps=32, factor=None, *, payoff="european", scheme="milstein", spot=100.0, strike=100.0, rate=0.05,
    volatility=0.2, maturity_years=1.0,
) -> Expectation:  # fmt: skip
    """The price of a call in `steps` steps of a scheme, biased by them, or with `factor` the correction to it.

    E[exp(-rate T) max(S - strike, 0)], and less the same in steps / factor steps; target of event shape [steps], the
    standardised Brownian increments.

    **Arguments:** as in `PathOption`; prices in one currency, `rate` and `volatility` per year.

    **Raises:** `ValueError` for steps that `factor` does not divide, unknown names and numbers that are not positive.
    """
    if steps < 1 or (factor is not None and (factor < 2 or steps % factor)):
        raise ValueError(f"path_option: steps must be at least 1 and a multiple of factor, got {steps} and {factor}.")
    option = PathOption(
        GeometricBrownian(rate, volatility), spot, strike, maturity_years, payoff, scheme, factor
    )  # fmt: skip
    return Expectation(option, Normal(jnp.zeros(int(steps)), 1.0))


class OptionLevels:
    """Level l of `mc.multilevel`: `path_option` in factor^l steps, from l = 1 on less that of level l - 1.

    The cost of a sample is its number of steps, the coarse path's included.

    **Arguments:** `factor`, by which steps shorten from level to level; the rest as in `path_option`.
    """

    def __init__(self, factor: int = 2, **option: Any) -> None:
        self.factor, self.option = factor, option

    def __call__(self, level: int) -> tuple[Expectation, float]:
        steps = self.factor**level
        problem = path_option(steps, self.factor if level else None, **self.option)
        return problem, float(steps + (steps // self.factor if level else 0))


def black_scholes_call(spot=100.0, strike=100.0, rate=0.05, volatility=0.2, maturity_years=1.0) -> float:
    """The price of a European call on a geometric Brownian motion: spot N(d_1) - exp(-rate T) strike N(d_2)."""
    deviation = volatility * math.sqrt(maturity_years)
    d = math.log(spot / strike) / deviation + (rate / volatility) * math.sqrt(maturity_years)
    d_1, d_2 = d + 0.5 * deviation, d - 0.5 * deviation
    below = [0.5 * math.erfc(-x / math.sqrt(2.0)) for x in (d_1, d_2)]
    return float(np.dot([spot, -math.exp(-rate * maturity_years) * strike], below))
