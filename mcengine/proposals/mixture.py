"""Mixtures of proposals, and the base of proposals that hold a mixture."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine.distributions import Distribution, Mixture


class MixtureProposal(eqx.Module):
    """A proposal whose samples and density are those of the `mixture` that it holds."""

    mixture: eqx.AbstractVar[Mixture]

    @property
    def components(self) -> tuple[Distribution, ...]:
        return self.mixture.components

    @property
    def num_uniforms(self) -> int:
        return self.mixture.num_uniforms

    @property
    def forward(self) -> Any:
        return self.mixture.forward

    @property
    def support(self) -> tuple[Any, Any]:
        return self.mixture.support

    def sample(self, key: PRNGKeyArray) -> Any:
        return self.mixture.sample(key)

    def sample_many(self, key: PRNGKeyArray, num: int) -> Any:
        return self.mixture.sample_many(key, num)

    def sample_components(self, key: PRNGKeyArray, chosen: Int[Array, " num"]) -> Any:
        return self.mixture.sample_components(key, chosen)

    def log_prob(self, x: Any) -> Float[Array, ""]:
        return self.mixture.log_prob(x)


def mixture(components: Iterable[Any], weights: ArrayLike | list[float] | None = None) -> Mixture:
    """Draw from `components[k]` with probability `weights[k]`.

    log q(x) = log sum_k weights_k exp(components_k.log_prob(x)), so weights p / q are bounded wherever one component
    bounds them.

    **Arguments:** `components`, distributions of one event structure; `weights`, [K], which sum to 1; equal by default.

    **Returns:** a `mcengine.Mixture`.

    **Raises:** as `mcengine.Mixture`.
    """
    components = tuple(components)
    if weights is None:
        weights = [1.0 / max(len(components), 1)] * len(components)
    return Mixture(components, weights)


def mixture_of(source: Any) -> Mixture | None:
    """The mixture that a distribution is or holds; None for other distributions."""
    if isinstance(source, MixtureProposal):
        return source.mixture
    return source if isinstance(source, Mixture) else None


def components_of(source: Any) -> tuple[Distribution, ...] | None:
    """The components of the mixture that a distribution is or holds; None for other distributions."""
    mixture = mixture_of(source)
    return None if mixture is None else mixture.components
