"""The tail of a sum of independent Student-t variables: exact values, in float64 NumPy."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from mcengine.numerics.values import Scalar
from mcengine.problems.exact_distributions import Numbers, as_exact

# Above this the rounding error of an FFT, 1e-15 to 1e-14, is far below 1e-6 of the value.
SMALLEST_BY_FFT = 1e-7
GRID_SIZE = 2**21


def student_sum_tail(x: Scalar, df: Scalar, num_terms: int) -> float:
    """P(T_1 + ... + T_n > x), T_i independent standard Student-t with `df` degrees of freedom, to a relative 1e-6.

    By FFT convolution for probabilities above 1e-7, and by a contour integral below.

    **Arguments:** `x`, any real number; `df` in [1, 200]; `num_terms` n.

    **Returns:** the probability, or NaN if neither method resolves it: far out in light tails (df above 10 or so).

    **Raises:** `ValueError` for `df` outside [1, 200] or less than one term.
    """
    if not 1 <= df <= 200:
        raise ValueError(f"student_sum_tail: df must lie in [1, 200], got {df}.")
    if num_terms < 1:
        raise ValueError(f"student_sum_tail: at least one term is needed, got {num_terms}.")
    if x < 0:
        return 1.0 - student_sum_tail(-x, df, num_terms)
    if x <= _fourier_coefficients(float(df), num_terms).reach:
        by_fft = tail_by_fft(x, df, num_terms)
        if by_fft >= SMALLEST_BY_FFT:
            return by_fft
    return tail_by_contour(x, df, num_terms)


class StudentSumLaw(eqx.Module):
    """Y = loc + scale (T_1 + ... + T_n), T_i independent standard Student-t: an `ExactDistribution`.

    Results are NaN where `student_sum_tail` is NaN.

    **Arguments:** `df` > 1, so that Y has a mean; `loc` of Y; `scale` of one term; `num_terms` n.
    """

    df: Any = eqx.field(converter=as_exact)
    loc: Any = eqx.field(converter=as_exact)
    scale: Any = eqx.field(converter=as_exact)
    num_terms: int = eqx.field(static=True)

    def exceedance(self, x: ArrayLike) -> Numbers:
        """P(Y > x), by `student_sum_tail`."""
        z = (np.asarray(x, np.float64) - self.loc) / self.scale
        return _map_numbers(self._tail, z)

    def quantile(self, level: ArrayLike) -> Numbers:
        """The root of P(Y > y) = 1 - level."""
        return self.loc + self.scale * _map_numbers(self._quantile, level)

    def shortfall(self, level: ArrayLike) -> Numbers:
        """v + int_v^inf P(Y > y) dy / (1 - level), v = quantile(level)."""
        return self.loc + self.scale * _map_numbers(self._shortfall, level)

    def _tail(self, z: float) -> float:
        return student_sum_tail(float(z), float(self.df), self.num_terms)

    def _quantile(self, level: float) -> float:
        from scipy import optimize

        if level < 0.5:
            return -self._quantile(1.0 - level)
        upper = 1.0
        while self._tail(upper) > 1.0 - level:
            upper *= 2.0
        if math.isnan(self._tail(upper)):
            return math.nan

        def excess(z: float) -> float:
            return self._tail(z) - (1.0 - level)

        return optimize.root_scalar(excess, bracket=(0.0, upper), xtol=1e-12, rtol=1e-12).root

    def _shortfall(self, level: float) -> float:
        v = self._quantile(level)
        # Intervals of doubling length, since the tail is a power law; beyond the last, the integral of that power law.
        ends = v + max(abs(v), 1.0) * (2.0 ** np.arange(0, 25) - 1.0)
        nodes, weights = np.polynomial.legendre.leggauss(12)
        halves, centres = 0.5 * np.diff(ends), 0.5 * (ends[1:] + ends[:-1])
        tails = _map_numbers(self._tail, centres[:, None] + halves[:, None] * nodes)
        rest = self._tail(ends[-1]) * ends[-1] / (self.df - 1.0)
        return float(v + (np.sum(halves * (tails @ weights)) + rest) / (1.0 - level))


def _map_numbers(function: Callable[[float], float], x: ArrayLike) -> Float[np.ndarray, "..."]:
    return np.asarray([function(float(entry)) for entry in np.ravel(x)]).reshape(np.shape(x))


class FourierSum(NamedTuple):
    """Fourier coefficients of a sum's density wrapped on a circle of length 2 L; `half_period` is L."""

    coefficients: Float[np.ndarray, " terms"]
    half_period: float

    @property
    def reach(self) -> float:
        """The largest x with a small error: beyond it too much of the tail is wrapped."""
        return self.half_period / 100


@lru_cache(maxsize=16)
def _fourier_coefficients(df: float, num_terms: int) -> FourierSum:
    """DFT of one term's density to the power n: the n-fold convolution."""
    from scipy.special import gammaln

    # The characteristic function decays like exp(-sqrt(df)|t|), for large df like exp(-t^2/2). At the highest frequency
    # pi/h of the grid it is below 1e-20, so that sums over the grid equal integrals up to rounding.
    spacing = 2 * math.pi * min(math.sqrt(df), 8.0) / 100
    half_period = spacing * GRID_SIZE / 2
    # From integers: s - 2 L in floats is not symmetric, which costs four digits in the tail.
    k = np.arange(GRID_SIZE)
    s = spacing * np.where(k < GRID_SIZE // 2, k, k - GRID_SIZE)
    log_norm = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * math.log(math.pi * df) + math.log(spacing)
    # The density wrapped on the circle: the two nearest images are added; the others are nearly constant.
    images = (s, s - 2 * half_period, s + 2 * half_period)
    mass = np.sum([np.exp(log_norm - (df + 1) / 2 * np.log1p(z * z / df)) for z in images], axis=0)
    mass += (1.0 - mass.sum()) / GRID_SIZE
    coefficients = np.fft.rfft(mass).real ** num_terms
    last = np.flatnonzero(np.abs(coefficients) > 1e-20)[-1]
    return FourierSum(coefficients[: last + 1], half_period)


def tail_by_fft(x: Scalar, df: Scalar, num_terms: int) -> float:
    """P(S_n > x) from the wrapped density of the sum, whose Fourier coefficients c_j are the n-th power of one term's.

    int_x^L g(s) ds = (L - x)/2L - sum_j c_j sin(pi j x/L)/(pi j),  for g(s) = sum_m density(s + 2 L m) and x >= 0.

    The integral lacks sum_m P(2mL - x < S < 2mL + x), m >= 1. It is added as n times the probability for one term,
    since a heavy-tailed sum is large because of one big jump. Absolute error 1e-14 for df below 30, 1e-13 above.

    **Arguments:** `x` in [0, L / 100]; `df` in [1, 200]; `num_terms` n.

    **Raises:** `ValueError` for x outside its range.
    """
    from scipy.special import stdtr

    fourier = _fourier_coefficients(float(df), num_terms)
    coefficients, half_period = fourier
    if not 0 <= x <= fourier.reach:
        raise ValueError(f"tail_by_fft: x = {x} lies outside [0, {fourier.reach:.0f}], which the grid resolves.")
    j = np.arange(1, len(coefficients))
    inside = (1 - x / half_period) / 2 - np.sum(coefficients[1:] * np.sin(np.pi * x / half_period * j) / (np.pi * j))
    centres = 2 * half_period * np.arange(1, 1001)
    return float(inside + num_terms * np.sum(stdtr(df, x - centres) - stdtr(df, -x - centres)))


def tail_by_contour(x: Scalar, df: Scalar, num_terms: int, num_nodes: int = 2000) -> float:
    """P(S_n > x) far out in the tail, by inversion of the characteristic function on the imaginary axis.

    On t = i w / sqrt(df) the oscillation exp(-i t x) decays, and with m = df/2 the characteristic function is

        phi = (pi / 2) w^m (-Y_m(w) - i J_m(w)) / (Gamma(m) 2^(m-1)),
        P(S_n > x) = -(1/pi) int_0^inf exp(-x w / sqrt(df)) Im[phi^n] dw / w,

    by the trapezoidal rule in log w. The integrand is positive where it is large, so the relative error is 1e-12 for
    arbitrarily rare events.

    **Arguments:** `x` > 0; `df`; `num_terms` n; `num_nodes` of the rule.

    **Returns:** the probability, or NaN if it is inaccurate: near the centre of the distribution (x of a few standard
    deviations of the sum, many terms) the integrand oscillates before it decays, and for large `df` the Bessel
    functions overflow.
    """
    from scipy.special import gammaln, jv, yv

    m, log_unit = df / 2, math.log(math.sqrt(df) / x)
    # The integrand behaves like w^df for small w and exp(-x w / sqrt(df)) for large w: below 1e-20 at both ends.
    log_w = np.linspace(log_unit - 50 / df, log_unit + math.log(800.0), num_nodes)
    w = np.exp(log_w)
    real, imaginary = -yv(m, w), jv(m, w)
    log_unit_modulus = math.log(math.pi / 2) - gammaln(m) - (m - 1) * math.log(2)
    with np.errstate(over="ignore", invalid="ignore"):
        log_modulus = np.log(np.hypot(real, imaginary)) + m * log_w + log_unit_modulus
        values = np.exp(num_terms * log_modulus - x * w / math.sqrt(df))
        values *= np.sin(num_terms * np.arctan2(imaginary, real))
        is_accurate = np.abs(values).sum() < 1e4 * abs(values.sum())
    return float(values.sum() * (log_w[1] - log_w[0]) / math.pi) if is_accurate else math.nan
