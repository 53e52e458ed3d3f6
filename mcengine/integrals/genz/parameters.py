"""Difficulties a and positions u of the Genz families: a fixed choice, random draws, or the user's own.

Source: A. Genz, "Testing multidimensional integration routines" (1984). Each family has a customary sum of its
difficulties; the larger the sum, the harder the integrand.
"""

import numpy as np
from jax.core import Tracer

TOTAL_DIFFICULTY = {
    "oscillatory": 9.0,
    "product_peak": 7.25,
    "corner_peak": 1.85,
    "gaussian": 7.03,
    "continuous": 20.4,
    "discontinuous": 4.3,
}
GOLDEN_RATIO = (1 + 5**0.5) / 2


def genz_parameters(family: str, dim: int, total_difficulty=None, difficulties=None, positions=None, seed=None):
    """(a, u), each of shape [dim]: what the user gave, else by seed, else the fixed choice.

    - fixed: a_i proportional to i = 1..dim; u_i = 0.2 + 0.6 frac(i g), g the golden ratio. No two axes are alike, so
      that a swapped axis or sign shows.
    - `seed`, an int: a and u uniform in [0, 1] and [0.2, 0.8] from NumPy's default generator.

    Difficulties not given by the user are scaled to the sum `total_difficulty`, by default the family's own.

    **Raises:** `ValueError` for an unknown family, dim < 1, wrong lengths, a <= 0, or both `total_difficulty` and
    `difficulties` given.
    """
    if family not in TOTAL_DIFFICULTY:
        raise ValueError(f"Genz family must be one of {', '.join(TOTAL_DIFFICULTY)}, got {family!r}.")
    if int(dim) != dim or dim < 1:
        raise ValueError(f"Genz {family}: dim must be a positive integer, got {dim!r}.")
    if difficulties is not None and total_difficulty is not None:
        raise ValueError(f"Genz {family}: give difficulties or total_difficulty, not both.")
    if seed is None:
        steps = np.arange(1, dim + 1)
        a, u = steps.astype(float), 0.2 + 0.6 * np.mod(steps * GOLDEN_RATIO, 1.0)
    else:
        rng = np.random.default_rng(seed)
        a, u = rng.uniform(size=dim), rng.uniform(0.2, 0.8, size=dim)
    if difficulties is None:
        total = TOTAL_DIFFICULTY[family] if total_difficulty is None else total_difficulty
        # A product, not a division of the total: it may be traced, in a sweep by vmap.
        a = total * (a / a.sum())
    else:
        a = difficulties
    u = u if positions is None else positions
    return _checked(family, "difficulties", a, dim, above=0.0), _checked(family, "positions", u, dim)


def _checked(family: str, name: str, values, dim: int, above: float = -np.inf):
    if isinstance(values, Tracer):
        if values.shape != (dim,):
            raise ValueError(f"Genz {family}: {name} must have shape ({dim},), got {values.shape}.")
        return values
    values = np.asarray(values, np.float64)
    if values.shape != (dim,):
        raise ValueError(f"Genz {family}: {name} must have shape ({dim},), got {values.shape}.")
    if not np.all((values > above) & np.isfinite(values)):
        raise ValueError(f"Genz {family}: {name} must be finite and above {above}, got {values}.")
    return values
