"""Mixtures of proposals."""

from typing import Any

from mcengine.distributions import Mixture


def mixture(components, weights=None) -> Mixture:
    """Draw from `components[k]` with probability `weights[k]` (all alike by default); see `mcengine.Mixture`.

    log q(x) = log sum_k weights_k exp(components_k.log_prob(x)), so weights are bounded wherever one component bounds
    them.
    """
    components = tuple(components)
    if weights is None:
        weights = [1.0 / max(len(components), 1)] * len(components)
    return Mixture(components, weights)


def mixture_of(source: Any) -> Any:
    """The mixture inside a proposal that wraps one."""
    return getattr(source, "mixture", source)
