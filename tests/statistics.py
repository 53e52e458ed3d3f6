"""How an estimator is tested as an estimator.

One declared false-alarm rate for the suite: each check passes wrongly-failing code by chance less than once in 1,000
seeds, and seeds are fixed, so a check that passes once passes always.
"""

import numpy as np
from scipy import special

# Of 400 intervals at 95 %, at least 364 cover (P(fewer) = 2e-4 for an exact interval).
MIN_COVERED = {400: 364, 1000: 926}


def covered(low, high, truth) -> int:
    """How many intervals hold the truth."""
    return int(np.sum((low <= truth) & (truth <= high)))


def least_covered(runs: int) -> int:
    """Of so many intervals at 95 % fewer cover with probability 2e-4: 364 of 400, 80 of 95."""
    from scipy import stats

    return int(stats.binom.ppf(2e-4, runs, 0.95)) if runs else 0


def normal_scores(value, std_error, num_units, truth):
    """z = (value - truth) / std_error, mapped through its t law to a normal score."""
    t = (np.asarray(value) - truth) / np.asarray(std_error)
    return special.ndtri(special.stdtr(np.asarray(num_units) - 1.0, t))


def assert_honest(estimates, truth, *, widest_ratio: float | None = None) -> None:
    """Coverage and the spread of normal scores are right, and the bars are not merely wide."""
    low, high = estimates.interval(0.95)
    runs = low.shape[0]
    assert covered(low, high, truth) >= MIN_COVERED[runs]
    scores = normal_scores(estimates.value, estimates.std_error, estimates.num_units, truth)
    assert 0.85 <= np.std(scores) <= 1.15
    assert abs(np.mean(scores)) < 4.0 / np.sqrt(runs)
    if widest_ratio is not None:
        # Bars no wider than the spread of the estimates asks for: infinite bars cover always.
        assert np.median(high - low) < widest_ratio * 2 * 1.96 * np.std(estimates.value)
