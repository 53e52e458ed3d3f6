"""Tail probabilities of the standard gamma distribution and their inverse, in logs, accurate in both tails."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array

from mcengine.distributions import log_concave, normal_tails
from mcengine.distributions.special import LOG_SQRT_2PI, stirling_error
from mcengine.distributions.univariate import Event, Mask

_STEPS = {32: 3, 64: 4}


def log_tails(shape: Event, t: Event) -> tuple[Event, Event]:
    """(log P(X <= x), log P(X > x)) at x = shape exp(t), for X ~ Gamma(shape, 1).

    In the variable log x the density g is log-concave for every shape a, so the smaller tail is g(x) times the integral
    of a decreasing function: above, P(X > x) = g(x) int_0^inf exp(a s - x (e^s - 1)) ds; below, where the decay may be
    as slow as e^(a s), once by parts, P(X <= x) = g(x) [1 + x int_0^inf exp(x (1 - e^-s) - (a + 1) s) ds] / a.
    """
    a = shape
    x = a * jnp.exp(jnp.minimum(t, 80.0))
    lower = x < jnp.maximum(a, 0.5)
    linear, sign = jnp.where(lower, -(a + 1.0), a), jnp.where(lower, -1.0, 1.0).astype(a.dtype)
    decay = log_concave.integral_of_decay(lambda s: linear * s - x * jnp.expm1(sign * s), _reach(a, x, lower))
    log_part = jnp.log(jnp.where(lower, 1.0 + x * decay, a * decay)) + log_density_over_shape(a, t)
    rest = log_concave.complement(log_part)
    return jnp.where(lower, log_part, rest), jnp.where(lower, rest, log_part)


def log_density_over_shape(shape: Event, t: Event) -> Event:
    """log[x^a e^-x / Gamma(a + 1)] at x = a exp(t), a the shape: the density of log x over a."""
    a = shape
    small = a < 2.0
    low, high = jnp.where(small, a, 1.0), jnp.where(small, 1.0, a)
    power = low * (t + jnp.log(low)) - low * jnp.exp(jnp.minimum(t, 80.0)) - gammaln(low + 1.0)
    hill = -high * log_concave.excess_of_exp(t) - LOG_SQRT_2PI - 0.5 * jnp.log(high) - stirling_error(high)
    return jnp.where(small, power, hill)


def _reach(a: Event, x: Event, lower: Mask) -> Event:
    """An upper bound of the s where the decay reaches exp(-depth): the least of several bounds."""
    depth = log_concave.depth(x.dtype)
    tiny = jnp.finfo(x.dtype).tiny
    # Below: convexity of e^-s up to 1, the slope at 0, and the line that the exponent falls to.
    bend = jnp.sqrt(depth * 2.0 * jnp.e / jnp.maximum(x, tiny))
    below = jnp.minimum(
        jnp.minimum(jnp.where(bend < 1.0, bend, jnp.inf), depth / (a + 1.0 - jnp.minimum(x, a))),
        (depth + x) / (a + 1.0),
    )
    # Above: e^s - 1 > s + s^2 / 2, the slope, and twice the fixed point of x (e^s - 1) = depth + a s.
    above = jnp.sqrt(2.0 * depth / jnp.maximum(x, 0.25))
    for _ in range(2):
        above = jnp.minimum(above, jnp.log1p((depth + a * above) / jnp.maximum(x, 0.25)))
    return jnp.where(lower, below, above)


@jax.custom_jvp
def quantile(shape: Event, log_lower: Event, log_upper: Event) -> Event:
    """log(x / shape) with log P(X <= x) = log_lower and log P(X > x) = log_upper; the smaller one decides.

    Halley steps on the logarithm of the smaller tail, from the cube root of E. B. Wilson and M. M. Hilferty, PNAS 17
    (1931), 684-688, or from P(X <= x) >= x^a / Gamma(a + 1) (1 - ...) where that is larger.
    """
    a = shape
    log_lower, log_upper = log_concave.finite(log_lower), log_concave.finite(log_upper)
    cube_root = 1.0 - 1.0 / (9.0 * a) + normal_tails.quantile(log_lower, log_upper) / (3.0 * jnp.sqrt(a))
    least = (log_lower + gammaln(a + 1.0)) / a - jnp.log(a)
    x = a * jnp.exp(jnp.minimum(least, 1.0))
    power = least + jnp.minimum(x / (a + 1.0), 1.0)
    # P(X > a + sqrt(2 a L) + L) <= e^-L.
    far = jnp.maximum(-log_upper, 0.0)
    most = jnp.log1p((jnp.sqrt(2.0 * a * far) + far) / a)
    start = jnp.clip(3.0 * jnp.log(jnp.maximum(cube_root, 1e-6)), power, most)

    def improve(_: Array, t: Event) -> Event:
        log_below, log_above = log_tails(a, t)
        slope, residual = _slope(a, t, log_below, log_above, log_lower, log_upper)
        return jnp.maximum(t + log_concave.step(residual, slope, -a * jnp.expm1(t)), least)

    t = jax.lax.fori_loop(0, _STEPS[jnp.finfo(a.dtype).bits], improve, start)
    return jnp.where(x < jnp.sqrt(jnp.finfo(a.dtype).eps), power, t)


def _slope(
    a: Event, t: Event, log_below: Event, log_above: Event, log_lower: Event, log_upper: Event
) -> tuple[Event, Event]:
    """(slope of the logarithm of the smaller tail along t, its distance from the wanted one)."""
    upper_tail = log_upper < log_lower
    log_tail = jnp.where(upper_tail, log_above, log_below)
    slope = a * jnp.exp(log_density_over_shape(a, t) - log_tail)
    residual = log_tail - jnp.where(upper_tail, log_upper, log_lower)
    return jnp.where(upper_tail, -slope, slope), residual


@quantile.defjvp
def _quantile_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # Where log F(a, t) = log p, F the smaller tail: dt = (dlog p - dlog F at fixed t) / (dlog F / dt).
    (shape, log_lower, log_upper), (shape_dot, lower_dot, upper_dot) = primals, tangents
    t = quantile(shape, log_lower, log_upper)
    (log_below, log_above), (below_dot, above_dot) = jax.jvp(lambda a: log_tails(a, t), (shape,), (shape_dot,))
    slope, _ = _slope(shape, t, log_below, log_above, log_lower, log_upper)
    return t, jnp.where(log_upper < log_lower, upper_dot - above_dot, lower_dot - below_dot) / slope
