"""Weights of multiple importance sampling: their sum for densities from 1e-20 to 1e20 and every heuristic."""

import jax.numpy as jnp
import numpy as np

import mcengine as mc
from benchmarks.coverage import verdict
from benchmarks.timing import table

HEURISTICS = {
    "balance": mc.mis.Balance(),
    "power, beta = 2": mc.mis.Power(),
    "power, beta = 5": mc.mis.Power(5.0),
    "cutoff, alpha = 0.1": mc.mis.Cutoff(),
    "maximum": mc.mis.Maximum(),
    "optimal": mc.mis.Optimal(),
}
NUM_PROPOSALS, POINTS = (2, 4, 16), 100_000
LOG_RANGE = 20.0 * np.log(10.0)
MOST = 1e-6


def densities(rng: np.random.Generator, num_proposals: int) -> np.ndarray:
    """log(alpha_i q_i(x)), [proposals, 3 points]: over the whole range, within a factor of two, and at its ends."""
    shape = (num_proposals, POINTS)
    anywhere = rng.uniform(-LOG_RANGE, LOG_RANGE, shape)
    level = rng.uniform(-LOG_RANGE, LOG_RANGE, (1, POINTS))
    close = np.clip(level + rng.uniform(0.0, np.log(2.0), shape), -LOG_RANGE, LOG_RANGE)
    ends = np.where(rng.random(shape) < 0.5, -LOG_RANGE, LOG_RANGE)
    return np.concatenate([anywhere, close, ends], axis=1)


def main() -> str:
    """The table of weights in float32, as in the kernels; their sum is in float64."""
    rng = np.random.default_rng(0)
    rows = []
    for name, heuristic in HEURISTICS.items():
        furthest = 0.0
        for num_proposals in NUM_PROPOSALS:
            log_c = jnp.asarray(densities(rng, num_proposals), jnp.float32)
            weights = np.exp(np.asarray(heuristic.log_weights(log_c), np.float64))
            furthest = max(furthest, float(np.max(np.abs(weights.sum(axis=0) - 1.0))))
        rows.append([name, f"1 within {MOST:.0e}", f"{furthest:.1e}", verdict(furthest <= MOST)])
    return table(["heuristic", "required sum", "largest difference to 1", "met"], rows)


if __name__ == "__main__":
    print(main())
