"""The mean weight of the fish in a round lake, from nets thrown at chosen places (the proposal)."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import require_positive
from mcengine.numerics.values import Scalar, as_parameter, concrete
from mcengine.problems.expectation import Expectation


class Middle(eqx.Module):
    """Density (peak + 1)/pi (1 - r^2)^peak on the disc of radius 1: uniform for peak 0, in the middle for a large peak.

    1 - r^2 = u^(1/(peak + 1)) and a uniform angle. Event shape [2].

    **Arguments:** `peak` >= 0, a scalar.
    """

    peak: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_not_negative("Middle", "peak", self.peak)

    @property
    def num_uniforms(self) -> int:
        return 2

    @property
    def support(self) -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
        return _square_around_lake()

    def forward(self, v: Float[Array, " 2"]) -> tuple[Float[Array, " 2"], Float[Array, ""]]:
        log_depth = numerics.log_lower(v[0]) / (self.peak + 1.0)
        radius = jnp.sqrt(-jnp.expm1(log_depth))
        return _point(radius, v[1]), self._log_density(log_depth)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " 2"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        depth = 1.0 - jnp.sum(x * x)
        inside = depth > 0.0
        return jnp.where(inside, self._log_density(jnp.log(jnp.where(inside, depth, 1.0))), -jnp.inf)

    def _log_density(self, log_depth: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.log1p(self.peak) - math.log(math.pi) + self.peak * log_depth


class Shore(eqx.Module):
    """Density (power + 2)/(2 pi) r^power on the disc of radius 1: nets thrown from the shore. Event shape [2].

    r = u^(1/(power + 2)) and a uniform angle. Few nets reach the middle. For a population there the weights have tail
    index power/(power + 2), and an infinite variance for power >= 2.

    **Arguments:** `power` >= 0, a scalar.
    """

    power: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_not_negative("Shore", "power", self.power)

    @property
    def num_uniforms(self) -> int:
        return 2

    @property
    def support(self) -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
        return _square_around_lake()

    def forward(self, v: Float[Array, " 2"]) -> tuple[Float[Array, " 2"], Float[Array, ""]]:
        log_radius = numerics.log_lower(v[0]) / (self.power + 2.0)
        return _point(jnp.exp(log_radius), v[1]), self._log_density(log_radius)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " 2"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        square = jnp.sum(x * x)
        inside = (square > 0.0) & (square <= 1.0)
        return jnp.where(inside, self._log_density(0.5 * jnp.log(jnp.where(inside, square, 1.0))), -jnp.inf)

    def _log_density(self, log_radius: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.log(self.power + 2.0) - math.log(2 * math.pi) + self.power * log_radius


def _square_around_lake() -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
    side = jnp.ones(2, numerics.float_dtype())
    return -side, side


def _require_not_negative(family: str, name: str, value: Float[Array, "..."]) -> None:
    known = concrete(value)
    if known is not None and not np.all((known >= 0) & np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be at least 0 and finite, got {known}.")


def _point(radius: Float[Array, ""], v: Float[Array, ""]) -> Float[Array, " 2"]:
    angle = 2 * math.pi * v
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


class FishCount(eqx.Module):
    """Fish per unit area, num_fish p(x): the density of the population up to a constant.

    It is not normalised: exp of `log_prob` integrates to num_fish. `sample` draws from p.
    """

    population: Middle
    num_fish: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        require_positive("FishCount", "num_fish", self.num_fish)

    @property
    def support(self) -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
        return self.population.support

    def sample(self, key: PRNGKeyArray) -> Float[Array, " 2"]:
        return self.population.sample(key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        return jnp.log(self.num_fish) + self.population.log_prob(x)


class FishWeight(eqx.Module):
    """Weight in kilograms of a fish at x: shore + (middle - shore) (1 - |x|^2)^steepness (1 + tilt x_0).

    `tilt` in [-1, 1] makes fish heavier on one side and lighter on the other, with the same mean.
    """

    shore_kg: Float[Array, ""] = eqx.field(converter=as_parameter)
    middle_kg: Float[Array, ""] = eqx.field(converter=as_parameter)
    steepness: Float[Array, ""] = eqx.field(converter=as_parameter)
    tilt: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        depth = jnp.clip(1.0 - jnp.sum(x * x), 0.0, 1.0)
        return self.shore_kg + (self.middle_kg - self.shore_kg) * depth**self.steepness * (1.0 + self.tilt * x[0])


def fish_pond(
    shore_kg: Scalar = 0.2,
    middle_kg: Scalar = 5.0,
    peak: Scalar = 3.0,
    steepness: Scalar = 2.0,
    *,
    tilt: Scalar = 0.5,
    num_fish: Scalar | None = None,
) -> Expectation:
    """Mean weight of the fish in a lake of radius 1: few and light at the shore, many and heavy in the middle.

    E_p[f] with the population p = Middle(peak) and f = FishWeight. The exact value is
    shore + (middle - shore) (peak + 1)/(peak + steepness + 1).

    **Arguments:**

    - `shore_kg`, `middle_kg`: weights of a fish in kilograms at the shore and in the middle, positive.
    - `peak`: of the population, positive.
    - `steepness`, `tilt`: of the weight, see `FishWeight`.
    - `num_fish`: None for a normalised density, or the number of fish in the lake. The target is then fish per unit
      area, and any proposal needs `weighting=mc.weighting.SelfNormalised()`.

    **Raises:** `ValueError` for weights, `peak` or `steepness` that are not positive and a tilt outside [-1, 1].
    """
    for name, value in (("shore_kg", shore_kg), ("middle_kg", middle_kg), ("peak", peak), ("steepness", steepness)):
        if not value > 0:
            raise ValueError(f"fish_pond: {name} must be positive, got {value}.")
    if not -1 <= tilt <= 1:
        raise ValueError(f"fish_pond: tilt must lie in [-1, 1], got {tilt}.")
    population = Middle(peak)
    target = population if num_fish is None else FishCount(population, num_fish)
    exact = shore_kg + (middle_kg - shore_kg) * (peak + 1) / (peak + steepness + 1)
    return Expectation(FishWeight(shore_kg, middle_kg, steepness, tilt), target, exact=exact)


def where_the_fish_are(problem: Expectation, peak: Scalar | None = None) -> Middle:
    """`Middle` with the mean squared radius of p f, the optimal density: nets where most kilograms are.

    Under Middle(c) the mean of r^2 is 1/(c + 2); p f is a mixture of two such densities.

    **Arguments:** `problem`, a `fish_pond`; `peak` of the result, if it is to be another.

    **Raises:** `TypeError` for another problem.
    """
    if peak is not None:
        return Middle(peak)
    population = problem.target.population if isinstance(problem.target, FishCount) else problem.target
    if not isinstance(population, Middle):
        raise TypeError(f"where_the_fish_are: the population must be a Middle, not a {type(population).__name__}.")
    weight = _weight_of(problem)
    p, shore, middle, s = (float(x) for x in (population.peak, weight.shore_kg, weight.middle_kg, weight.steepness))
    light, heavy = shore, (middle - shore) * (p + 1) / (p + s + 1)
    mean_square_radius = (light / (p + 2) + heavy / (p + s + 2)) / (light + heavy)
    return Middle(1 / mean_square_radius - 2)


def unweighted_mean(problem: Expectation, net: Middle | Shore) -> float:
    """E_q[f], the limit of the average without weights: a wrong value for every number of samples.

    E_q[(1 - r^2)^s] = Gamma(a + 1) Gamma(s + 1) / Gamma(a + s + 1) with a = power/2 + 1 for `Shore`, and
    (c + 1)/(c + s + 1) for `Middle`.
    """
    weight = _weight_of(problem)
    shore, middle, s = (float(x) for x in (weight.shore_kg, weight.middle_kg, weight.steepness))
    if isinstance(net, Shore):
        a = float(net.power) / 2 + 1
        depth = math.exp(math.lgamma(a + 1) + math.lgamma(s + 1) - math.lgamma(a + s + 1))
    else:
        depth = (float(net.peak) + 1) / (float(net.peak) + s + 1)
    return shore + (middle - shore) * depth


def _weight_of(problem: Expectation) -> FishWeight:
    if not isinstance(problem.integrand, FishWeight):
        raise TypeError(f"This is for the fish pond, not for an integrand of type {type(problem.integrand).__name__}.")
    return problem.integrand
