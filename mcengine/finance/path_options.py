"""Options on a path that is simulated step by step, and a hierarchy of finer and finer steps for `mc.multilevel`."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.distributions import Normal
from mcengine.distributions.univariate import require_positive
from mcengine.finance.paths import SCHEMES, GeometricBrownian, PathSummary, summarise_path
from mcengine.numerics.values import Scalar, as_parameter
from mcengine.problems.expectation import Expectation

PAYOFFS = ("european", "asian")


class PathOption(eqx.Module):
    """exp(-rate T) max(S - strike, 0) for one discretised path, S its final ("european") or average ("asian") price.

    With `factor`, less the same payoff for the coarse path of `factor` times longer steps and the same Brownian path.

    **Arguments:**

    - `model`: the diffusion, per year.
    - `spot`, `strike`: prices in one currency.
    - `maturity_years`: T.
    - `payoff`: one of `PAYOFFS`.
    - `scheme`: one of `SCHEMES`.
    - `factor`: a whole number that divides the number of steps; None for the payoff alone.

    **Raises:** `ValueError` for unknown names and numbers that are not positive.
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
        # Sums of `factor` increments, divided by their standard deviation.
        coarse = jnp.sum(jnp.reshape(z, (-1, self.factor)), axis=-1) / math.sqrt(self.factor)
        return fine - self._value(coarse)

    @property
    def discount(self) -> Float[Array, ""]:
        """exp(-rate T)."""
        return jnp.exp(-self.model.rate * self.maturity_years)

    def path(self, z: Float[Array, " steps"]) -> PathSummary:
        """The final and the average price of the path with these standardised increments."""
        step_years = self.maturity_years / z.shape[0]
        return summarise_path(self.model, self.scheme, self.spot, jnp.sqrt(step_years) * z, step_years=step_years)

    def _value(self, z: Float[Array, " steps"]) -> Float[Array, ""]:
        return self.discount * jnp.maximum(self._underlying(self.path(z)) - self.strike, 0.0)

    def _underlying(self, path: PathSummary) -> Float[Array, ""]:
        return path.final if self.payoff == "european" else path.average


def path_option(
    steps: int = 32,
    factor: int | None = None,
    *,
    payoff: str = "european",
    scheme: str = "milstein",
    spot: Scalar = 100.0,
    strike: Scalar = 100.0,
    rate: Scalar = 0.05,
    volatility: Scalar = 0.2,
    maturity_years: Scalar = 1.0,
) -> Expectation:
    """The price of a call by `steps` steps of a scheme (a biased value), or with `factor` the multilevel correction.

    E[exp(-rate T) max(S - strike, 0)]; with `factor`, less the same expectation with steps / factor steps. The target
    has event shape [steps]: the standardised Brownian increments.

    **Arguments:** `steps` of the path; the others as in `PathOption`, with `rate` and `volatility` per year.

    **Raises:** `ValueError` if `factor` does not divide `steps`, and as `PathOption`.
    """
    if steps < 1 or (factor is not None and (factor < 2 or steps % factor)):
        raise ValueError(f"path_option: steps must be at least 1 and a multiple of factor, got {steps} and {factor}.")
    option = PathOption(GeometricBrownian(rate, volatility), spot, strike, maturity_years, payoff, scheme, factor)
    return Expectation(option, Normal(jnp.zeros(int(steps)), 1.0))


class OptionLevels:
    """Level l for `mc.multilevel`: the correction of `path_option` with factor^l steps, and on level 0 the option.

    The cost of a sample is its number of steps, fine and coarse together.

    **Arguments:** `factor`, the number of steps of a level in one of the level before; `option`, as in `path_option`.
    """

    def __init__(self, factor: int = 2, **option: str | Scalar) -> None:
        self.factor, self.option = factor, option

    def __call__(self, level: int) -> tuple[Expectation, float]:
        steps = self.factor**level
        factor = self.factor if level else None
        problem = path_option(steps, factor, **self.option)  # pyright: ignore[reportArgumentType]
        return problem, float(steps + (steps // self.factor if level else 0))


def black_scholes_call(
    spot: float = 100.0,
    strike: float = 100.0,
    rate: float = 0.05,
    volatility: float = 0.2,
    *,
    maturity_years: float = 1.0,
) -> float:
    """The price of a European call on a geometric Brownian motion: spot N(d_1) - exp(-rate T) strike N(d_2).

    d_1, d_2 = (log(spot / strike) + rate T) / (volatility sqrt(T)) +- volatility sqrt(T) / 2; float64.

    **Arguments:** prices in one currency, `rate` and `volatility` per year, T = `maturity_years`.
    """
    deviation = volatility * math.sqrt(maturity_years)
    d = math.log(spot / strike) / deviation + (rate / volatility) * math.sqrt(maturity_years)
    d_1, d_2 = d + 0.5 * deviation, d - 0.5 * deviation
    below = [0.5 * math.erfc(-x / math.sqrt(2.0)) for x in (d_1, d_2)]
    return float(np.dot([spot, -math.exp(-rate * maturity_years) * strike], below))
