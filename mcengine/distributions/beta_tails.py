"""Tail probabilities of the beta distribution and their inverse, in logs, accurate in both tails."""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array

from mcengine.distributions import log_concave, normal_tails
from mcengine.distributions.special import LOG_SQRT_2PI, stirling_error
from mcengine.distributions.univariate import Event, Mask

_STEPS = {32: 3, 64: 4}


def _far(x: Array) -> float:
    """The largest exponent that does not overflow; at such log odds x or 1 - x is close to the smallest float."""
    return 85.0 if x.dtype == jnp.float32 else 700.0


def both_sides(alpha: Event, beta: Event, t: Event) -> tuple[Event, Event]:
    """(x, 1 - x) at log(x / (1 - x)) = log(alpha / beta) + t, each to full relative precision."""
    odds, inverse = jnp.exp(jnp.clip(t, -_far(t), 0.0)), jnp.exp(-jnp.clip(t, 0.0, _far(t)))
    total = alpha * odds + beta * inverse
    return alpha * odds / total, beta * inverse / total


def log_tails(alpha: Event, beta: Event, t: Event) -> tuple[Event, Event]:
    """(log P(X <= x), log P(X > x)) at log(x / (1 - x)) = log(alpha / beta) + t, for X ~ Beta(alpha, beta).

    In the log odds the density g is log-concave for all parameters, so the smaller tail is g(x) times the integral of a
    decreasing function, once by parts so that it does not decrease slowly:
    P(X <= x) = g(x) [1 + (a + b) x int_0^inf e^(-(a + 1) s) (1 - x + x e^-s)^-(a + b + 1) ds] / a.
    """
    x, y = both_sides(alpha, beta, t)
    high = x * jnp.maximum(beta, 0.5) > y * jnp.maximum(alpha, 0.5)
    # The upper tail is the lower one of 1 - X.
    a, b = jnp.where(high, beta, alpha), jnp.where(high, alpha, beta)
    x, y = jnp.where(high, y, x), jnp.where(high, x, y)
    total = a + b
    # 1 - x + x e^-s = 1 + x (e^-s - 1) = e^-s [1 + (1 - x) (e^s - 1)]; the form without cancellation is taken.
    small = x < 0.5
    factor, linear = jnp.where(small, x, y), jnp.where(small, -(a + 1.0), b)
    sign = jnp.where(small, -1.0, 1.0).astype(a.dtype)
    decay = log_concave.integral_of_decay(
        lambda s: linear * s - (total + 1.0) * jnp.log1p(factor * jnp.expm1(sign * s)), _reach(a, b, x, y)
    )
    log_part = log_density(alpha, beta, t) - jnp.log(a) + jnp.log1p(total * x * decay)
    rest = log_concave.complement(log_part)
    return jnp.where(high, rest, log_part), jnp.where(high, log_part, rest)


def log_density(alpha: Event, beta: Event, t: Event) -> Event:
    """log[x^a (1 - x)^b / B(a, b)] at log(x / (1 - x)) = log(a / b) + t: the log density of the log odds."""
    total = alpha + beta
    # a log(x / x_0) + b log[(1 - x) / (1 - x_0)] with x_0 = a / (a + b); both logarithms are exact.
    hill = alpha * _log_ratio(beta / total, alpha / total, -t) + beta * _log_ratio(alpha / total, beta / total, t)
    peak = 0.5 * jnp.log(alpha * (beta / total)) - LOG_SQRT_2PI
    return hill + peak + (stirling_error(total) - stirling_error(alpha) - stirling_error(beta))


def _log_ratio(share: Event, other: Event, t: Event) -> Event:
    """-log(1 + share (e^t - 1)) with share = 1 - other; -t - log(1 + other (e^-t - 1)) where that would cancel."""
    turned = (share > 0.5) & (t < 0)
    power = jnp.where(turned, -t, t)
    # exp is linear in logs where it would overflow.
    beyond = jnp.maximum(power - _far(t), 0.0)
    bulk = jnp.where(turned, other, share) * jnp.expm1(jnp.minimum(power, _far(t)))
    return jnp.where(turned, power, 0.0) - beyond - jnp.log1p(bulk)


def _reach(a: Event, b: Event, x: Event, y: Event) -> Event:
    """An upper bound of the s where the decay reaches exp(-depth): the least of several bounds."""
    depth = log_concave.depth(x.dtype)
    tiny = jnp.finfo(x.dtype).tiny
    n = a + b + 1.0
    # Convexity up to s = 1, the slope at 0, and the line that the exponent falls to.
    bend = jnp.sqrt(depth * 2.0 * jnp.e / jnp.maximum(n * x * y, tiny))
    reach = jnp.where(bend < 1.0, bend, jnp.inf)
    slope = a * y + y - b * x
    reach = jnp.minimum(reach, depth / jnp.maximum(slope, tiny))
    reach = jnp.minimum(reach, (depth - n * jnp.log(jnp.maximum(y, tiny))) / (a + 1.0))
    # (a + b + 1) log[1 + (1 - x) (e^s - 1)] = depth + b s, twice from the right.
    for _ in range(2):
        growth = jnp.minimum((depth + b * reach) / n, _far(x))
        reach = jnp.minimum(reach, jnp.log1p(jnp.expm1(growth) / jnp.maximum(y, tiny)))
    return reach


@jax.custom_jvp
def quantile(alpha: Event, beta: Event, log_lower: Event, log_upper: Event) -> Event:
    """t = log(x / (1 - x)) - log(alpha / beta) with log P(X <= x) = log_lower and log P(X > x) = log_upper.

    The smaller of the two decides. Halley steps on the logarithm of the smaller tail.
    """
    log_lower, log_upper = log_concave.finite(log_lower), log_concave.finite(log_upper)
    start = _start(alpha, beta, log_lower, log_upper)

    def improve(_: Array, t: Event) -> Event:
        log_below, log_above = log_tails(alpha, beta, t)
        slope, residual = _slope(alpha, beta, t, log_below, log_above, log_lower, log_upper)
        x, y = both_sides(alpha, beta, t)
        return t + log_concave.step(residual, slope, alpha * y - beta * x)

    return jax.lax.fori_loop(0, _STEPS[jnp.finfo(alpha.dtype).bits], improve, start)


def _start(a: Event, b: Event, log_lower: Event, log_upper: Event) -> Event:
    """Powers near either end, and between them E. Paulson's ratio of two normal cube roots."""
    z = normal_tails.quantile(log_lower, log_upper)
    from_a, from_b = 1.0 / (9.0 * a), 1.0 / (9.0 * b)
    low, high, square = 1.0 - from_a, 1.0 - from_b, z * z
    # ((1 - from_b) f - (1 - from_a))^2 = z^2 (from_a + from_b f^2), solved for f, or for 1 / f where that
    # is better conditioned.
    root = jnp.abs(z) * jnp.sqrt(jnp.maximum(from_b * low * low + from_a * high * high - square * from_a * from_b, 0.0))
    top = jnp.where(z > 0, jnp.maximum(low * high + root, 1e-3), jnp.maximum(low * low - square * from_a, 1e-3))
    bottom = jnp.where(z > 0, jnp.maximum(high * high - square * from_b, 1e-3), jnp.maximum(low * high + root, 1e-3))
    between = 3.0 * (jnp.log(top) - jnp.log(bottom))
    log_beta = gammaln(a) + gammaln(b) - gammaln(a + b)
    below, sure_below = _near_zero(a, b, (log_lower + jnp.log(a) + log_beta) / a)
    above, sure_above = _near_zero(b, a, (log_upper + jnp.log(b) + log_beta) / b)
    middle = jnp.log(a) - jnp.log(b)
    return jnp.where(sure_below, below - middle, jnp.where(sure_above, -above - middle, between))


def _near_zero(a: Event, b: Event, log_x: Event) -> tuple[Event, Mask]:
    """The log odds from P(X <= x) = x^a / (a B(a, b)) (1 + ...), and whether the two terms are good enough."""
    second = jnp.exp(jnp.minimum(log_x, 9.0)) * ((a + b) / (a + 1.0))
    return log_x + second, second < 0.3


def _slope(
    alpha: Event, beta: Event, t: Event, log_below: Event, log_above: Event, log_lower: Event, log_upper: Event
) -> tuple[Event, Event]:
    """(slope of the logarithm of the smaller tail along t, its distance from the wanted one)."""
    upper_tail = log_upper < log_lower
    log_tail = jnp.where(upper_tail, log_above, log_below)
    slope = jnp.exp(log_density(alpha, beta, t) - log_tail)
    residual = log_tail - jnp.where(upper_tail, log_upper, log_lower)
    return jnp.where(upper_tail, -slope, slope), residual


@quantile.defjvp
def _quantile_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # Where log F(a, b, t) = log p, F the smaller tail: dt = (dlog p - dlog F at fixed t) / (dlog F / dt).
    (alpha, beta, log_lower, log_upper), (alpha_dot, beta_dot, lower_dot, upper_dot) = primals, tangents
    t = quantile(alpha, beta, log_lower, log_upper)
    (log_below, log_above), (below_dot, above_dot) = jax.jvp(
        lambda a, b: log_tails(a, b, t), (alpha, beta), (alpha_dot, beta_dot)
    )
    slope, _ = _slope(alpha, beta, t, log_below, log_above, log_lower, log_upper)
    return t, jnp.where(log_upper < log_lower, upper_dot - above_dot, lower_dot - below_dot) / slope
