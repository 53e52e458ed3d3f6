"""Proposals with a share of the target mixed in, so that no weight can be large."""

from typing import TYPE_CHECKING, Any, TypeGuard

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine.distributions import Distribution, Mixture
from mcengine.distributions.protocol import Density, same_distribution
from mcengine.numerics.values import as_parameter, concrete
from mcengine.proposals.mixture import MixtureProposal


class DefensiveProposal(eqx.Module):
    """A proposal with q(x) >= defensive_share p(x) for the target p: its weights are at most 1 / defensive_share."""

    if TYPE_CHECKING:  # a type checker would take abstract variables for the first fields of every subclass

        @property
        def target(self) -> Distribution: ...

        @property
        def defensive_share(self) -> Float[Array, ""]: ...
    else:
        target: eqx.AbstractVar[Distribution]
        defensive_share: eqx.AbstractVar[Float[Array, ""]]


def contains_target(proposal: Any, target: Density) -> TypeGuard[DefensiveProposal]:
    """Whether the proposal holds a share of this very target."""
    return isinstance(proposal, DefensiveProposal) and same_distribution(proposal.target, target)


class Defensive(MixtureProposal, DefensiveProposal):
    """q = share target + (1 - share) proposal, whose weights p / q are at most 1 / share.

    The variance is at most 1 / share times that of plain Monte Carlo. If no sample hits, 3 / (share n) is an upper
    bound for a probability. Source: T. Hesterberg, Technometrics 37 (1995), 185-194.

    **Arguments:** `target`, the distribution that the expectation is taken under; `proposal`, with the same events;
    `share`, strictly between 0 and 1.

    **Raises:** `ValueError` for another share, and for events that differ.
    """

    mixture: Mixture

    def __init__(self, target: Any, proposal: Any, share: ArrayLike = 0.1) -> None:
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
        """The probability of drawing from the target."""
        return self.mixture.weights[0]


def defensive(target: Any, proposal: Any, share: ArrayLike = 0.1) -> Defensive:
    """The proposal with `share` of the target mixed in; see `Defensive`."""
    return Defensive(target, proposal, share)
