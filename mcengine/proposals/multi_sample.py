"""Several proposals with a fixed number of samples each."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mcengine.distributions import Mixture


class MultiSample(eqx.Module):
    """counts[k] samples of components[k] in every round: Veach's multi-sample estimator.

    Its samples are those of the mixture with weights counts / sum(counts), with the allocation fixed instead of
    random, which takes the variance between the components away. The components must be transports.

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

    def log_prob(self, x):
        return self.mixture.log_prob(x)


def multi_sample(components, counts) -> MultiSample:
    """The proposal that draws counts[k] samples of components[k] in every round; see `MultiSample`."""
    return MultiSample(components, counts)
