"""Intervals for the mean of bounded values by betting: right for every n, every law and at every look.

Against each candidate mean m a gambler bets on X > m, another on X < m, with stakes settled before X is seen. If m is
the mean neither can expect to gain, and either ever has 2 / alpha times what it began with, with probability at most
alpha / 2; the m against which nobody got that rich are the interval. Stakes follow the variance, so that it is shorter
than empirical Bernstein's, most of all for skewed values.

Source: I. Waudby-Smith and A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024), 1-27:
the hedged capital process, theorem 3, with the predictable plug-in stakes of equations (24) to (26).
"""

import equinox as eqx
import numpy as np

from mcengine.inference.confidence_sequences import level_of_look

# Of the largest stake that cannot ruin: a half, as the paper recommends.
MOST_STAKED = 0.5
# Of the distance to the mean: how far an end may lie outside of where it would be exactly.
PRECISION = 1e-4


def stakes(x: np.ndarray, sizes: np.ndarray, level: float, count: int | None) -> np.ndarray:
    """What is bet on each of the batch means x [N, K] of `sizes` [N] values in [0, 1], before it is seen, [N, K].

    lambda_i = b_i sqrt(2 log(2 / alpha) / (V_{i-1} d)), b_i values to the batch, V the variance of one value so far,
    d = count where only the end counts, else n_i log(n_i + 1) after n_i values. For b = 1 it is the paper's; means of b
    values get b times the stake, since that is what b bets in a row would have been.
    """
    b = np.asarray(sizes, np.float64)[:, None]
    n = np.cumsum(b, axis=0)
    # One value at 1/2, of variance 1/4, stands for what is known beforehand.
    means = (0.5 + np.cumsum(b * x, axis=0)) / (1.0 + n)
    squares = 0.25 + np.cumsum(b * (x - means) ** 2, axis=0)
    variance = squares / (1.0 + np.arange(1, len(x) + 1))[:, None]
    variance = np.concatenate([np.full((1, x.shape[1]), 0.25), variance[:-1]])
    duration = n * np.log1p(n) if count is None else np.full_like(n, count)
    return b * np.sqrt(2.0 * np.log(2.0 / (1.0 - level)) / (variance * duration))


def betting_interval(
    x: np.ndarray, sizes: np.ndarray, level: float = 0.95, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), [K], for the means of values in [0, 1] whose batch means, in the order drawn, are x [N, K].

    {m: both capitals below 2 / alpha}, with capital prod (1 + min(lambda_i, c / m) (x_i - m)) of those who bet on more
    and prod (1 - min(lambda_i, c / (1 - m)) (x_i - m)) of those who bet on less. The first falls with m and the second
    grows, so each end is found by bisection.

    **Arguments:** `sizes` [N], how many values each batch has, settled before they were drawn; `count`, the number of
    values where the interval is looked at only once, then; None where it must hold at every look.

    Batches cost little while b is below a tenth of sd sqrt(n): means of b values can still be 1, so stakes are capped
    as for single values, and no interval is shorter than about 2 b log(2 / alpha) / n.
    """
    bets = stakes(x, sizes, level, count)
    wealth = np.log(2.0 / (1.0 - level))
    mean = np.sum(x * np.asarray(sizes)[:, None], axis=0) / np.sum(sizes)
    low = _end(x, bets, mean, wealth)
    high = 1.0 - _end(1.0 - x, bets, 1.0 - mean, wealth)
    # Empty with probability below alpha: then what lies between is as good as anything.
    return np.minimum(low, high), np.maximum(low, high)


def _end(x: np.ndarray, bets: np.ndarray, mean: np.ndarray, wealth: float) -> np.ndarray:
    """The largest m up to the mean against which betting on more makes exp(wealth); 0 where none does."""
    below, above = np.zeros_like(mean), mean.copy()
    while np.any(above - below > PRECISION * (mean - below)):
        m = 0.5 * (below + above)
        stake = np.minimum(bets, MOST_STAKED / np.maximum(m, 1e-300))
        rich = np.sum(np.log1p(stake * (x - m)), axis=0) >= wealth
        below, above = np.where(rich, m, below), np.where(rich, above, m)
    return below


class Betting(eqx.Module):
    """The interval of a run whose batch means `x` [N, K], over `largest`, and `sizes` [N] were kept.

    At look k the error is alpha / (k (k + 1)), so that all looks hold together, and the stakes are settled for that
    look's sample count: shorter than stakes that serve every count. `look` None is one look in all.
    """

    x: np.ndarray
    sizes: np.ndarray
    largest: np.ndarray
    look: int | None = eqx.field(static=True, default=None)

    def bounds(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of every output, [K]."""
        level = level if self.look is None else float(level_of_look(level, self.look))
        low, high = betting_interval(self.x, self.sizes, level, int(np.sum(self.sizes)))
        return low * self.largest, high * self.largest
