"""Several proposals with a fixed number of samples each."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from mcengine.distributions import Mixture
from mcengine.numerics.values import concrete


class MultiSample(eqx.Module):
    """counts[k] samples of components[k] in every round: Veach's multi-sample estimator.

    Its samples are those of the mixture with weights counts / sum(counts), with the allocation fixed instead of
    random, which takes the variance between the components away.

    **Arguments:** `components`, distributions of one event; `counts`, a whole number of at least 1 for each.
    """

    mixture: Mixture
    counts: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, components, counts):
        counts = tuple(counts)
        if any(isinstance(n, bool) or int(n) != n or n < 1 for n in counts):
            raise ValueError(f"MultiSample: counts must be whole numbers of at least 1, got {counts}.")
        self.counts = tuple(int(n) for n in counts)
        self.mixture = Mixture(components, jnp.asarray(self.counts) / sum(self.counts))

    @property
    def components(self):
        return self.mixture.components

    @property
    def num_uniforms(self) -> int:
        return self.mixture.num_uniforms

    @property
    def forward(self):
        return self.mixture.forward

    @property
    def support(self):
        return self.mixture.support

    def sample(self, key: PRNGKeyArray):
        return self.mixture.sample(key)

    def sample_many(self, key: PRNGKeyArray, num: int):
        return self.mixture.sample_many(key, num)

    def sample_components(self, key: PRNGKeyArray, chosen: Int[Array, " num"]):
        return self.mixture.sample_components(key, chosen)

    def log_prob(self, x):
        return self.mixture.log_prob(x)


def multi_sample(components, counts=None, *, total=None) -> MultiSample:
    """The proposal that draws counts[k] samples of components[k] in every round; see `MultiSample`.

    Or, of a mixture, `total` samples a round dealt out by its weights: `multi_sample(chosen_mixture, total=20)`.

    **Raises:** `ValueError` unless counts or `total` is given, and not both, or where `total` is less than one sample
    for each component; `TypeError` for `total` without a mixture, or with weights that are traced.
    """
    if (counts is None) == (total is None):
        raise ValueError("multi_sample: give either counts, or a mixture and total, and not both.")
    if counts is not None:
        return MultiSample(components, counts)
    mixture = getattr(components, "mixture", components)
    if not isinstance(mixture, Mixture):
        raise TypeError("multi_sample: total is dealt out by a mixture's weights; give counts, or a mixture.")
    weights = concrete(mixture.weights)
    if weights is None:
        raise TypeError("multi_sample: counts are shapes, and the weights are traced; give counts.")
    return MultiSample(mixture.components, whole_counts(np.asarray(weights, np.float64), total))


def whole_counts(shares: np.ndarray, total: Any) -> tuple[int, ...]:
    """Whole numbers of at least 1 that sum to `total`, as near as may be to total times shares (largest remainders)."""
    if isinstance(total, bool) or int(total) != total or total < len(shares):
        raise ValueError(
            f"multi_sample: total must be a whole number of at least {len(shares)}, one sample for each component, "
            f"got {total}."
        )
    wanted = int(total) * shares / shares.sum()
    counts = np.maximum(np.floor(wanted), 1).astype(int)
    while counts.sum() < total:
        counts[np.argmax(wanted - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - wanted, -np.inf))] -= 1
    return tuple(counts.tolist())
