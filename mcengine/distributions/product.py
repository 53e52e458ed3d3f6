"""Independent components side by side in one vector."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from mcengine import numerics
from mcengine.distributions.foreign import as_distribution
from mcengine.distributions.protocol import Distribution, event_struct, is_transport, sample_many, support_of


def as_distributions(components: Iterable[Any]) -> tuple[Distribution, ...]:
    """A tuple of distributions from ours or those of other libraries."""
    return tuple(as_distribution(component) for component in components)


class Product(eqx.Module):
    """The distribution of [X_1, ..., X_K] with independent X_k ~ components[k], raveled and concatenated.

    log_prob(x) = sum_k components[k].log_prob(x_k). A transport where all components are. Where discrete and
    continuous components meet, the event is a vector of floats.

    **Arguments:** `components`, a list of distributions, each of a single array as event.
    """

    components: tuple[Distribution, ...] = eqx.field(converter=as_distributions)

    def __check_init__(self):
        if not self.components:
            raise ValueError("Product: the list of components is empty.")
        for position, struct in enumerate(map(event_struct, self.components)):
            if not isinstance(struct, jax.ShapeDtypeStruct):
                raise ValueError(f"Product: the event of component {position} is a pytree, not a single array.")

    @property
    def num_uniforms(self) -> int:
        require_transports(self.components, "Product", "num_uniforms")
        return sum(component.num_uniforms for component in self.components)

    @property
    def forward(self) -> Callable[[Array], tuple[Array, Array]]:
        require_transports(self.components, "Product", "forward")
        return self._forward

    @property
    def support(self) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """The supports of the components that state one; the whole line for the others."""
        sides = [_support_of(component) for component in self.components]
        lower, upper = (jnp.concatenate([jnp.ravel(side[end]) for side in sides]) for end in (0, 1))
        return lower, upper

    def sample(self, key: PRNGKeyArray) -> Array:
        keys = jax.random.split(key, len(self.components))
        return self._join([component.sample(k) for component, k in zip(self.components, keys, strict=True)])

    def sample_many(self, key: PRNGKeyArray, num: int) -> Array:
        keys = jax.random.split(key, len(self.components))
        parts = [sample_many(component, k, num) for component, k in zip(self.components, keys, strict=True)]
        return jax.vmap(lambda *part: self._join(part))(*parts)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        structs = [event_struct(component) for component in self.components]
        sizes = [int(np.prod(struct.shape)) for struct in structs]
        x = jnp.asarray(x)
        if x.shape != (sum(sizes),):
            raise ValueError(f"Product: an event has shape {(sum(sizes),)}, got x of shape {x.shape}.")
        parts = jnp.split(x, np.cumsum(sizes)[:-1].tolist())
        terms = [
            component.log_prob(part.reshape(struct.shape))
            for component, part, struct in zip(self.components, parts, structs, strict=True)
        ]
        return _total(terms)

    def _forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Shaped[Array, " n"], Float[Array, ""]]:
        counts = [component.num_uniforms for component in self.components]
        shares = jnp.split(v, np.cumsum(counts)[:-1].tolist())
        images = [component.forward(share) for component, share in zip(self.components, shares, strict=True)]
        return self._join([x for x, _ in images]), _total([log_q for _, log_q in images])

    def _join(self, parts: Sequence[Array]) -> Shaped[Array, " n"]:
        dtypes = {part.dtype for part in parts}
        dtype = dtypes.pop() if len(dtypes) == 1 else numerics.float_dtype()
        return jnp.concatenate([jnp.ravel(part).astype(dtype) for part in parts])


def _total(terms: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _support_of(component: Distribution) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    shape = event_struct(component).shape
    lower, upper = support_of(component) or (-np.inf, np.inf)
    dtype = numerics.float_dtype()
    return jnp.broadcast_to(jnp.asarray(lower, dtype), shape), jnp.broadcast_to(jnp.asarray(upper, dtype), shape)


def require_transports(components: tuple[Distribution, ...], family: str, name: str) -> None:
    """An `AttributeError`, so that `hasattr` says False where a component cannot be drawn through uniforms."""
    lacking = [type(component).__name__ for component in components if not is_transport(component)]
    if lacking:
        raise AttributeError(f"{family} has no {name}: {', '.join(lacking)} cannot be drawn through uniforms.")
