"""Mean weight of the fish in a round lake, from nets thrown where one likes."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import require_positive
from mcengine.numerics.values import as_parameter, concrete
from mcengine.problems.expectation import Expectation


class Middle(eqx.Module):
    """Density (peak + 1)/pi (1 - r^2)^peak on the disc of radius 1: uniform at peak 0, all in the middle as it grows.

    1 - r^2 = u^(1/(peak + 1)), the angle uniform. Event shape [2].

    **Arguments:** `peak` >= 0, a scalar.
    """

    peak: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_not_negative("Middle", "peak", self.peak)

    @property
    def num_uniforms(self) -> int:
        return 2

    @property
    def support(self):
        return _square_around_lake()

    def forward(self, v: Float[Array, " 2"]):
        log_depth = numerics.log_lower(v[0]) / (self.peak + 1.0)
        radius = jnp.sqrt(-jnp.expm1(log_depth))
        return _point(radius, v[1]), self._log_density(log_depth)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        depth = 1.0 - jnp.sum(x * x)
        inside = depth > 0.0
        return jnp.where(inside, self._log_density(jnp.log(jnp.where(inside, depth, 1.0))), -jnp.inf)

    def _log_density(self, log_depth):
        return jnp.log1p(self.peak) - math.log(math.pi) + self.peak * log_depth


class Shore(eqx.Module):
    """Density (power + 2)/(2 pi) r^power on the disc of radius 1: nets thrown from the bank. Event shape [2].

    r = u^(1/(power + 2)), the angle uniform. Almost no net reaches the middle, which lies deep: the weights of a
    population there have infinite variance from power 2 on, tail index power/(power + 2).

    **Arguments:** `power` >= 0, a scalar.
    """

    power: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_not_negative("Shore", "power", self.power)

    @property
    def num_uniforms(self) -> int:
        return 2

    @property
    def support(self):
        return _square_around_lake()

    def forward(self, v: Float[Array, " 2"]):
        log_radius = numerics.log_lower(v[0]) / (self.power + 2.0)
        return _point(jnp.exp(log_radius), v[1]), self._log_density(log_radius)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        square = jnp.sum(x * x)
        inside = (square > 0.0) & (square <= 1.0)
        return jnp.where(inside, self._log_density(0.5 * jnp.log(jnp.where(inside, square, 1.0))), -jnp.inf)

    def _log_density(self, log_radius):
        return jnp.log(self.power + 2.0) - math.log(2 * math.pi) + self.power * log_radius


def _square_around_lake() -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
    side = jnp.ones(2, numerics.float_dtype())
    return -side, side


def _require_not_negative(family: str, name: str, value) -> None:
    known = concrete(value)
    if known is not None and not np.all((known >= 0) & np.isfinite(known)):
        raise ValueError(f"{family}: {name} must be at least 0 and finite, got {known}.")


def _point(radius: Float[Array, ""], v: Float[Array, ""]) -> Float[Array, " 2"]:
    angle = 2 * math.pi * v
    return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


class FishCount(eqx.Module):
    """Fish per unit area, num_fish p(x): the population's density known up to a constant.

    Not a probability: `log_prob` does not integrate to one, `sample` draws from p all the same.
    """

    population: Middle
    num_fish: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        require_positive("FishCount", "num_fish", self.num_fish)

    @property
    def support(self):
        return self.population.support

    def sample(self, key: PRNGKeyArray):
        return self.population.sample(key)

    def log_prob(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        return jnp.log(self.num_fish) + self.population.log_prob(x)


class FishWeight(eqx.Module):
    """Weight in kilograms of a fish at x: shore + (middle - shore) (1 - |x|^2)^steepness (1 + tilt x_0).

    `tilt` in [-1, 1] makes one bank's fish heavier than the other's, without changing the mean over a round population.
    """

    shore_kg: Float[Array, ""] = eqx.field(converter=as_parameter)
    middle_kg: Float[Array, ""] = eqx.field(converter=as_parameter)
    steepness: Float[Array, ""] = eqx.field(converter=as_parameter)
    tilt: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __call__(self, x: Float[Array, " 2"]) -> Float[Array, ""]:
        depth = jnp.clip(1.0 - jnp.sum(x * x), 0.0, 1.0)
        return self.shore_kg + (self.middle_kg - self.shore_kg) * depth**self.steepness * (1.0 + self.tilt * x[0])


def fish_pond(shore_kg=0.2, middle_kg=5.0, peak=3.0, steepness=2.0, tilt=0.5, num_fish=None) -> Expectation:
    """Mean weight of the fish in a lake of radius 1, few and light by the shore, many and heavy in the middle.

    E_p[f], population p = Middle(peak), f = FishWeight; exactly
    shore + (middle - shore) (peak + 1)/(peak + steepness + 1).

    **Arguments:** weights in kilograms at the shore and in the middle; `num_fish`, None where the population's density
    is normalised, or the number of fish in the lake: then the target is fish per unit area, which needs
    `weighting=mc.weighting.SelfNormalised()` with any net but the fish's own.

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


def where_the_fish_are(problem: Expectation, peak=None) -> Middle:
    """Nets where the kilograms are: `Middle` whose mean squared radius is that of p f, the best density there is.

    Under Middle(c) the mean of r^2 is 1/(c + 2); under p f it is a mixture of two such.
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
    """E_q[f], what averaging the catch without weights converges to: a wrong answer, however many nets are thrown.

    E_q[(1 - r^2)^s] = Gamma(a + 1) Gamma(s + 1) / Gamma(a + s + 1) with a = power/2 + 1 from the shore, and
    (c + 1)/(c + s + 1) from the middle.
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
