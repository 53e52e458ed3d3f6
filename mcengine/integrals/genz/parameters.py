"""Difficulties a and positions u of the Genz families: a fixed choice, random draws, or the user's own.

Each family has a customary sum of its difficulties; the larger the sum, the harder the integrand.

Source: A. Genz, "Testing multidimensional integration routines" (1984).
"""

from collections.abc import Sequence

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Real

from mcengine.numerics.values import Scalar

# A number for each axis, of shape [dim]. The shape is checked where the numbers are used, to name the wrong argument.
PerAxis = Real[Array, "..."] | Real[np.ndarray, "..."] | Sequence[int | float]

TOTAL_DIFFICULTY = {
    "oscillatory": 9.0,
    "product_peak": 7.25,
    "corner_peak": 1.85,
    "gaussian": 7.03,
    "continuous": 20.4,
    "discontinuous": 4.3,
}
GOLDEN_RATIO = (1 + 5**0.5) / 2


def genz_parameters(
    family: str,
    dim: Scalar,
    total_difficulty: Scalar | None = None,
    difficulties: PerAxis | None = None,
    *,
    positions: PerAxis | None = None,
    seed: int | None = None,
) -> tuple[Float[Array, " dim"] | Float[np.ndarray, " dim"], Float[Array, " dim"] | Float[np.ndarray, " dim"]]:
    """(a, u), each [dim]: the given ones, else random ones from `seed`, else the fixed choice.

    The fixed choice has a_i proportional to i = 1..dim and u_i = 0.2 + 0.6 frac(i g), g the golden ratio. All axes
    differ, so that swapped axes and signs change the result.

    **Arguments:**

    - `family`: a key of `TOTAL_DIFFICULTY`.
    - `dim`: a whole number of at least 1.
    - `total_difficulty`: the sum of a, by default that of the family.
    - `difficulties` a [dim], positive; not scaled.
    - `positions` u [dim].
    - `seed`: a and u uniform in [0, 1] and [0.2, 0.8] from NumPy's default generator; a is then scaled to its sum.

    **Returns:** (a, u) in float64, or as they were given if traced.

    **Raises:** `ValueError` for an unknown family, dim < 1, wrong lengths, a <= 0, and if both `total_difficulty` and
    `difficulties` are given.
    """
    if family not in TOTAL_DIFFICULTY:
        raise ValueError(f"Genz family must be one of {', '.join(TOTAL_DIFFICULTY)}, got {family!r}.")
    if int(dim) != dim or dim < 1:
        raise ValueError(f"Genz {family}: dim must be a positive integer, got {dim!r}.")
    if difficulties is not None and total_difficulty is not None:
        raise ValueError(f"Genz {family}: give difficulties or total_difficulty, not both.")
    dim = int(dim)
    if seed is None:
        steps = np.arange(1, dim + 1)
        a, u = steps.astype(float), 0.2 + 0.6 * np.mod(steps * GOLDEN_RATIO, 1.0)
    else:
        rng = np.random.default_rng(seed)
        a, u = rng.uniform(size=dim), rng.uniform(0.2, 0.8, size=dim)
    if difficulties is None:
        total = TOTAL_DIFFICULTY[family] if total_difficulty is None else total_difficulty
        # The total may be traced, in a sweep by vmap; the rest is float64.
        a = total * (a / a.sum())
    else:
        a = difficulties
    u = u if positions is None else positions
    return _per_axis(family, "difficulties", a, dim, above=0.0), _per_axis(family, "positions", u, dim)


def _per_axis(
    family: str, name: str, values: PerAxis, dim: int, above: float = -np.inf
) -> Float[Array, " dim"] | Float[np.ndarray, " dim"]:
    """The values, checked; in float64 if they are not traced."""
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
