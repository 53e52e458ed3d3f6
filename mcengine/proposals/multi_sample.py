"""Several proposals with a fixed number of samples each."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mcengine.distributions import Mixture
from mcengine.numerics.values import concrete
from mcengine.proposals.mixture import MixtureProposal, mixture_of


class MultiSample(MixtureProposal):
    """counts[k] samples of components[k] in every round: Veach's multi-sample estimator.

    The samples are those of the mixture with weights counts / sum(counts), but the allocation is fixed instead of
    random, which removes the variance between the components.

    **Arguments:** `components`, distributions of one event; `counts`, a whole number of at least 1 for each.

    **Raises:** `ValueError` for other counts, and as `mcengine.Mixture`.
    """

    mixture: Mixture
    counts: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, components: Iterable[Any], counts: Iterable[int]) -> None:
        counts = tuple(counts)
        if any(isinstance(n, bool) or int(n) != n or n < 1 for n in counts):
            raise ValueError(f"MultiSample: counts must be whole numbers of at least 1, got {counts}.")
        self.counts = tuple(int(n) for n in counts)
        self.mixture = Mixture(components, jnp.asarray(self.counts) / sum(self.counts))


def multi_sample(components: Any, counts: Iterable[int] | None = None, *, total: int | None = None) -> MultiSample:
    """The proposal that draws counts[k] samples of components[k] in every round; see `MultiSample`.

    **Arguments:** `components`, distributions of one event, with `counts`, a whole number for each; or a mixture, with
    `total`, samples a round that are shared out by its weights, as in `multi_sample(chosen_mixture, total=20)`.

    **Raises:** `ValueError` unless counts or `total` is given, and not both, or where `total` is less than one sample
    for each component; `TypeError` for `total` without a mixture, or with weights that are traced.
    """
    if counts is not None and total is None:
        return MultiSample(components, counts)
    if counts is not None or total is None:
        raise ValueError("multi_sample: give either counts, or a mixture and total, and not both.")
    mixture = mixture_of(components)
    if mixture is None:
        raise TypeError("multi_sample: total is dealt out by a mixture's weights; give counts, or a mixture.")
    weights = concrete(mixture.weights)
    if weights is None:
        raise TypeError("multi_sample: counts are shapes, and the weights are traced; give counts.")
    return MultiSample(mixture.components, whole_counts(np.asarray(weights, np.float64), total))


def fixed_counts_of(proposal: Any) -> tuple[int, ...] | None:
    """How many samples each component draws in a round, where the proposal fixes it; else None."""
    return proposal.counts if isinstance(proposal, MultiSample) else None


def whole_counts(weights: Float[np.ndarray, " k"], total: int) -> tuple[int, ...]:
    """Whole numbers of at least 1 that sum to `total`, as near to total times weights as possible (largest remainders).

    **Raises:** `ValueError` for a total that is not a whole number, or less than one for each component.
    """
    if isinstance(total, bool) or int(total) != total or total < len(weights):
        raise ValueError(
            f"multi_sample: total must be a whole number of at least {len(weights)}, one sample for each component, "
            f"got {total}."
        )
    wanted = int(total) * weights / weights.sum()
    counts = np.maximum(np.floor(wanted), 1).astype(int)
    while counts.sum() < total:
        counts[np.argmax(wanted - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - wanted, -np.inf))] -= 1
    return tuple(counts.tolist())
