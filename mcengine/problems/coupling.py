"""Two samples from the same uniforms: what pairs of problems are driven by."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import weights
from mcengine.distributions.protocol import sample_by_transport


class Pair(NamedTuple):
    """A sample of each problem, from the same uniforms; `log_w` their log-weights, None where both are 0."""

    first: Any
    second: Any
    log_w: tuple[Array, Array] | None


class Coupling(eqx.Module):
    """The law of a `Pair`: the same uniforms through the transport of each `source`, weighed against its `target`.

    Where one transport needs more uniforms than the other, the other takes the first of them.
    """

    sources: tuple[Any, Any]
    targets: tuple[Any, Any] | None

    @property
    def num_uniforms(self) -> int:
        return max(source.num_uniforms for source in self.sources)

    def forward(self, v: Float[Array, " num_uniforms"]):
        images = [source.forward(v[: source.num_uniforms]) for source in self.sources]
        x, log_q = zip(*images, strict=True)
        log_w = None
        if self.targets is not None:
            log_p = [target.log_prob(sample) for target, sample in zip(self.targets, x, strict=True)]
            # A target may have a weight for each output, and the sampler has one density.
            first, second = (
                weights.log_ratio(p, jnp.broadcast_to(q, p.shape)) for p, q in zip(log_p, log_q, strict=True)
            )
            log_w = first, second
        return Pair(x[0], x[1], log_w), jnp.zeros_like(log_q[0])

    def sample(self, key: PRNGKeyArray) -> Pair:
        return sample_by_transport(self, key)

    def log_prob(self, x: Pair) -> Float[Array, ""]:
        """0: a pair is only ever weighed by the weights that it brings along."""
        return jnp.zeros((), jax.tree.leaves(x)[0].dtype)


class OwnWeights(eqx.Module):
    """What stands for the target's density: the log-weights that a `Pair` brings along, one for each output.

    Those of the difference are the larger of the two, by which `Difference.integrand` divides.
    """

    size: int = eqx.field(static=True)
    only_difference: bool = eqx.field(static=True)

    def log_prob(self, pair: Pair) -> Float[Array, " outputs"]:
        assert pair.log_w is not None
        first, second = (jnp.broadcast_to(log_w, (self.size,)) for log_w in pair.log_w)
        difference = jnp.maximum(first, second)
        return difference if self.only_difference else jnp.concatenate([difference, first, second])
