"""A share of plain Monte Carlo in every proposal, so that no weight can be large."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions import Distribution, Mixture
from mcengine.numerics.values import as_parameter, concrete


class Defensive(eqx.Module):
    """q = share target + (1 - share) proposal, whose weights p / q are at most 1 / share.

    Never much worse than plain Monte Carlo with `share` of the samples, and where no sample hits, 3 / (share n) bounds
    a probability from above. Source: T. Hesterberg, Technometrics 37 (1995), 185-194.

    **Arguments:** `target`, the law the expectation is taken under; `proposal`, with the same events; `share`, strictly
    between 0 and 1.

    **Raises:** `ValueError` for another share, or events that differ.
    """

    mixture: Mixture

    def __init__(self, target, proposal, share=0.1):
        share = as_parameter(share)
        known = concrete(share)
        if share.shape != () or (known is not None and not np.all((known > 0) & (known < 1))):
            raise ValueError(f"Defensive: share must be one number strictly between 0 and 1, got {share}.")
        self.mixture = Mixture((target, proposal), jnp.stack([share, 1.0 - share]))

    @property
    def target(self) -> Distribution:
        return self.mixture.components[0]

    @property
    def proposal(self) -> Distribution:
        return self.mixture.components[1]

    @property
    def defensive_share(self) -> Float[Array, ""]:
        """The probability of drawing from the target: weights are at most 1 over this."""
        return self.mixture.weights[0]

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

    def log_prob(self, x) -> Float[Array, ""]:
        return self.mixture.log_prob(x)


def defensive(target, proposal, share=0.1) -> Defensive:
    """The proposal with `share` of the target mixed in; see `Defensive`."""
    return Defensive(target, proposal, share)
