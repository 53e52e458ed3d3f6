"""Pairs of samples made from the same uniforms, for the difference of two problems."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import weights
from mcengine.distributions.protocol import Density, Transport, sample_by_transport

# log w of a pair's first and second sample: a scalar, or one for each output.
PairOfWeights = tuple[Float[Array, "..."], Float[Array, "..."]]


class Pair(NamedTuple):
    """A sample of each problem, from the same uniforms; `log_w` their log-weights, None where both are 0."""

    first: Any
    second: Any
    log_w: PairOfWeights | None


class Coupling(eqx.Module):
    """The distribution of a `Pair`: the same uniforms through the transport of each `source`, with weights p / q.

    If one transport needs more uniforms than the other, the other takes the first of them.

    **Arguments:** `sources`, two transports; `targets` of their weights, None where the sources are the targets.
    """

    sources: tuple[Transport, Transport]
    targets: tuple[Density, Density] | None

    @property
    def num_uniforms(self) -> int:
        return max(source.num_uniforms for source in self.sources)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Pair, Float[Array, ""]]:
        images = [source.forward(v[: source.num_uniforms]) for source in self.sources]
        x, log_q = zip(*images, strict=True)
        log_w = None
        if self.targets is not None:
            log_p = [target.log_prob(sample) for target, sample in zip(self.targets, x, strict=True)]
            # A target may have a weight for each output; the sampler has one density.
            first, second = (
                weights.log_ratio(p, jnp.broadcast_to(q, p.shape)) for p, q in zip(log_p, log_q, strict=True)
            )
            log_w = first, second
        return Pair(x[0], x[1], log_w), jnp.zeros_like(log_q[0])

    def sample(self, key: PRNGKeyArray) -> Pair:
        return sample_by_transport(self, key)

    def log_prob(self, x: Pair) -> Float[Array, ""]:
        """0: the weights of a pair are those that it carries."""
        return jnp.zeros((), jax.tree.leaves(x)[0].dtype)


class OwnWeights(eqx.Module):
    """The target of pairs: its log density is the log-weight that a `Pair` carries, one for each output.

    The weight of the difference is the larger of the two, by which `Difference.integrand` divides.

    **Arguments:** `size`, numbers in a value of each problem; `only_difference`, as in `difference`.
    """

    size: int = eqx.field(static=True)
    only_difference: bool = eqx.field(static=True)

    def log_prob(self, x: Pair) -> Float[Array, " outputs"]:
        assert x.log_w is not None
        first, second = (jnp.broadcast_to(log_w, (self.size,)) for log_w in x.log_w)
        difference = jnp.maximum(first, second)
        return difference if self.only_difference else jnp.concatenate([difference, first, second])
