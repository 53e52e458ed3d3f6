"""Fits the polynomials of `mcengine.numerics.elementary`: minimax in relative error, by Lawson's iteration.

`python -m benchmarks.fit_elementary` prints the coefficients, lowest power first, and the largest relative error of
each fit in float64 with the coefficients rounded to eight digits, as in the module.
"""

import numpy as np
from scipy.special import ndtri

SWITCH, LAST = 6.25, 46.0  # t = -log(4 p (1 - p)); p = 1e-20 at the last
CENTRAL_SHIFT, TAIL_SHIFT = 3.125, 4.5
QUARTER_TURN = 0.25**2


def smaller_tail(t: np.ndarray) -> np.ndarray:
    """p <= 1/2 with -log(4 p (1 - p)) = t, without cancellation: p (1 - p) = e^-t / 4."""
    return 0.5 * np.exp(-t) / (1.0 + np.sqrt(-np.expm1(-t)))


def minimax(x: np.ndarray, y: np.ndarray, degree: int, rounds: int = 400) -> np.ndarray:
    """Coefficients of the polynomial in x with the least max |P / y - 1|: reweighted least squares (Lawson 1961)."""
    centre, half = (x[0] + x[-1]) / 2, (x[-1] - x[0]) / 2
    basis = np.polynomial.chebyshev.chebvander((x - centre) / half, degree) / y[:, None]
    weight, best, least = np.ones_like(x), np.zeros(degree + 1), np.inf
    for _ in range(rounds):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(basis * root[:, None], root, rcond=None)[0]
        error = np.abs(basis @ found - 1.0)
        if error.max() < least:
            best, least = found, error.max()
        weight = weight * error
        weight /= weight.sum()
    series = np.polynomial.Chebyshev(best, domain=[x[0], x[-1]])
    return series.convert(kind=np.polynomial.Polynomial).coef


def fits() -> dict[str, tuple[np.ndarray, float]]:
    """(coefficients, largest relative error) of every polynomial."""
    # Dense towards both ends, where a minimax error has its outermost peaks.
    grid = 0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 6_001))
    central, tail = np.maximum(SWITCH * grid, 1e-9), SWITCH + (LAST - SWITCH) * grid
    near_one = (2.0 * grid[grid != 0.5] - 1.0) / 3.0
    turns = np.sqrt(np.maximum(QUARTER_TURN * grid, 1e-12))
    cases = {
        "central": (central - CENTRAL_SHIFT, -ndtri(smaller_tail(central)) / np.sqrt(-np.expm1(-central)), 9),
        "tail": (np.sqrt(tail) - TAIL_SHIFT, -ndtri(smaller_tail(tail)), 7),
        "logarithm": (near_one, np.log1p(near_one) / near_one, 8),
        "sine": (turns**2, np.sin(2.0 * np.pi * turns) / turns, 5),
    }
    found = {}
    for name, (x, y, degree) in cases.items():
        coefficients = np.asarray([float(f"{c:.7e}") for c in minimax(x, y, degree)])
        error = np.max(np.abs(np.polynomial.polynomial.polyval(x, coefficients) / y - 1.0))
        found[name] = (coefficients, float(error))
    return found


if __name__ == "__main__":
    for name, (coefficients, error) in fits().items():
        print(f"{name}: largest relative error {error:.2e}")
        print("   ", ", ".join(f"{c:.7e}" for c in coefficients))
