"""What the engine asks of a distribution. Any object with these methods is one; nothing need be subclassed.

Everything is written for one sample: the engine batches by `vmap`.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.numerics.partition import shapes_of
from mcengine.numerics.tracing import is_traced


@runtime_checkable
class Distribution(Protocol):
    """A law that can be sampled and whose density is known.

    `log_prob` must accept any x of the event's shape and give -inf off the support: mixtures and multiple importance
    sampling ask it about points that it did not draw. Optional besides:

    - ``support``: a pair (lower, upper) that broadcasts to the event, the smallest box known to hold the law;
    - ``sample_many(key, num)``: `num` samples at once along the first axis, where that is cheaper than `vmap(sample)`;
    - ``prefers_sample_many = True``: independent samples are cheaper by `sample_many` than through `forward`.
    """

    def sample(self, key: PRNGKeyArray) -> Any: ...

    def log_prob(self, x: Any) -> Float[Array, ""]: ...


@runtime_checkable
class Transport(Distribution, Protocol):
    """A distribution that is the image of the unit cube, as quasi-random and stratified points need.

    ``forward(v)`` maps `num_uniforms` centred uniforms (`mcengine.numerics.centred_uniform`) to (x, log q(x)).
    """

    @property
    def num_uniforms(self) -> int: ...

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Any, Float[Array, ""]]: ...


def is_transport(distribution: Any) -> bool:
    """Whether the distribution can be drawn through `forward`."""
    return hasattr(distribution, "forward") and hasattr(distribution, "num_uniforms")


def sample_by_transport(transport: Transport, key: PRNGKeyArray) -> Any:
    """One sample of a transport: the image of fresh uniforms."""
    v = numerics.centred_uniform(numerics.random_words(key, (1, transport.num_uniforms), "threefry"))
    return transport.forward(v)[0]


def sample_many(distribution: Distribution, key: PRNGKeyArray, num: int) -> Any:
    """`num` independent samples along the first axis of every leaf, by the cheapest way on offer."""
    if is_transport(distribution) and not prefers_sample_many(distribution):
        # Dimension first: each coordinate is one contiguous array, which is what vector units like.
        v = numerics.centred_uniform(numerics.random_words(key, (1, distribution.num_uniforms, num)))
        return jax.vmap(lambda column: distribution.forward(column)[0], in_axes=-1)(v)
    if hasattr(distribution, "sample_many"):
        return distribution.sample_many(key, num)
    return jax.vmap(distribution.sample)(jax.random.split(key, num))


def event_struct(distribution: Distribution) -> Any:
    """The event's pytree of `jax.ShapeDtypeStruct`, found without computing anything."""
    return shapes_of(_first_sample, distribution)


def _first_sample(distribution: Distribution) -> Any:
    return distribution.sample(jax.random.key(0))


def same_law(a: Any, b: Any) -> bool:
    """Whether two distributions are the same object or equal leaf by leaf; unknown (False) where traced."""
    if a is b:
        return True
    if jax.tree.structure(a) != jax.tree.structure(b) or is_traced((a, b)):
        return False
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def prefers_sample_many(distribution: Any) -> bool:
    """Whether independent samples are drawn by `sample_many` although there is a `forward`.

    So say some families of themselves, and whatever holds one of them (a mixture, a product) follows.
    """
    if not hasattr(distribution, "sample_many"):
        return False
    parts = jax.tree.leaves(distribution, is_leaf=_says_so)
    return any(_says_so(part) for part in parts)


def _says_so(part):
    return getattr(part, "prefers_sample_many", False) is True
