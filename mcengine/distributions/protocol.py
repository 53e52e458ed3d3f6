"""The members that the engine uses of a distribution. Any object with these methods is one, without a base class.

Everything is written for one sample: the engine batches by `vmap`. Optional members of a user's object are asked for
by the functions of this file alone.
"""

from collections.abc import Iterable
from typing import Any, Protocol, TypeGuard, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.numerics.partition import shapes_of
from mcengine.numerics.tracing import is_traced


@runtime_checkable
class Density(Protocol):
    """A density, normalised or not: enough for a target where every estimate is given a proposal.

    `log_prob` must accept any x of the event's shape and give -inf off the support: mixtures and multiple importance
    sampling evaluate it at points that other distributions drew.
    """

    def log_prob(self, x: Any) -> Float[Array, "..."]: ...


@runtime_checkable
class Sampler(Protocol):
    """A distribution of which only samples are asked for."""

    def sample(self, key: PRNGKeyArray) -> Any: ...


@runtime_checkable
class Distribution(Density, Sampler, Protocol):
    """A distribution that can be sampled and whose density is known. Optional members:

    - ``support``: a pair (lower, upper) that broadcasts to the event, the smallest box known to hold the support;
    - ``sample_many(key, num)``: `num` samples at once along the first axis, where that is cheaper than `vmap(sample)`;
    - ``prefers_sample_many = True``: independent samples are cheaper by `sample_many` than through `forward`.
    """


@runtime_checkable
class Transport(Distribution, Protocol):
    """A distribution that is the image of the unit cube, as quasi-random and stratified points need.

    ``forward(v)`` maps `num_uniforms` centred uniforms (`mcengine.numerics.centred_uniform`) to (x, log q(x)).
    """

    @property
    def num_uniforms(self) -> int: ...

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Any, Float[Array, ""]]: ...


class SamplesManyAtOnce(Sampler, Protocol):
    """A distribution with a way of its own to draw many samples."""

    def sample_many(self, key: PRNGKeyArray, num: int) -> Any: ...


def missing_methods(thing: Any, names: Iterable[str]) -> list[str]:
    """Those of the names that are not methods of the object."""
    return [name for name in names if not callable(getattr(thing, name, None))]


def has_density(thing: Any) -> bool:
    """Whether the object has `log_prob`."""
    return hasattr(thing, "log_prob")


def can_be_sampled(thing: Any) -> TypeGuard[Distribution]:
    """Whether the object has `sample`; a target may be known by its density alone."""
    return hasattr(thing, "sample")


def is_transport(distribution: Sampler) -> TypeGuard[Transport]:
    """Whether the distribution can be drawn through `forward`."""
    return hasattr(distribution, "forward") and hasattr(distribution, "num_uniforms")


def has_sample_many(distribution: Sampler) -> TypeGuard[SamplesManyAtOnce]:
    """Whether the distribution has a way of its own to draw many samples."""
    return hasattr(distribution, "sample_many")


def num_uniforms_of(distribution: Sampler) -> int | None:
    """The number of uniforms that a transport needs for one sample; None for other distributions."""
    return getattr(distribution, "num_uniforms", None)


def support_of(distribution: Density) -> tuple[Any, Any] | None:
    """(lower, upper) ends of the support where the distribution states them, else None."""
    support = getattr(distribution, "support", None)
    if support is None:
        return None
    lower, upper = support
    return lower, upper


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
    if has_sample_many(distribution):
        return distribution.sample_many(key, num)
    return jax.vmap(distribution.sample)(jax.random.split(key, num))


def event_struct(distribution: Distribution) -> Any:
    """The event's pytree of `jax.ShapeDtypeStruct`, found without computing anything."""
    return shapes_of(_first_sample, distribution)


def _first_sample(distribution: Distribution) -> Any:
    return distribution.sample(jax.random.key(0))


def same_distribution(a: Density, b: Density) -> bool:
    """Whether two distributions are the same object or equal leaf by leaf; unknown (False) where traced."""
    if a is b:
        return True
    if jax.tree.structure(a) != jax.tree.structure(b) or is_traced((a, b)):
        return False
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def prefers_sample_many(distribution: Sampler) -> bool:
    """Whether independent samples are drawn by `sample_many` although there is a `forward`.

    Some families set `prefers_sample_many`, and a distribution that contains one of them (a mixture, a product)
    prefers it too.
    """

    def prefers(node: Any) -> bool:
        return getattr(node, "prefers_sample_many", False) is True

    return has_sample_many(distribution) and any(map(prefers, jax.tree.leaves(distribution, is_leaf=prefers)))
