"""Mixtures: a component is chosen at random, then drawn from."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from mcengine import numerics
from mcengine.distributions import choice
from mcengine.distributions.product import as_distributions, require_transports
from mcengine.distributions.protocol import (
    Distribution,
    event_struct,
    is_transport,
    prefers_sample_many,
    sample_many,
    support_of,
)
from mcengine.numerics import log_space
from mcengine.numerics.values import as_parameter, concrete

_TOLERANCE = 1e-5


class Mixture(eqx.Module):
    """sum_k weights_k components_k; its density is the denominator of the balance heuristic with random allocation.

    log_prob(x) = log sum_k weights_k exp(components_k.log_prob(x)).

    A transport if all components are; the first uniform chooses the component. Components of one structure with few
    parameters are drawn by choosing the parameters, others by drawing from every component and choosing.

    **Arguments:** `components`, distributions with one event structure; `weights`, [K], which sum to 1 within 1e-5 and
    are normalised.

    **Raises:** `ValueError` for weights that are negative, do not sum to 1 or do not match the components, and for
    components whose events differ.
    """

    components: tuple[Distribution, ...] = eqx.field(converter=as_distributions)
    weights: Float[Array, " k"] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        check_weights("Mixture", self.weights, len(self.components))
        structs = [event_struct(component) for component in self.components]
        for position, struct in enumerate(structs):
            if struct != structs[0]:
                raise ValueError(
                    f"Mixture: the events of the components differ: component 0 has {describe(structs[0])}, "
                    f"component {position} has {describe(struct)}."
                )

    @property
    def num_uniforms(self) -> int:
        require_transports(self.components, "Mixture", "num_uniforms")
        return 1 + max(component.num_uniforms for component in self.components)

    @property
    def forward(self) -> Callable[[Array], tuple[Any, Array]]:
        require_transports(self.components, "Mixture", "forward")
        return self._forward

    @property
    def support(self) -> tuple[Any, Any]:
        """The smallest box around the components' supports; the whole line if a component does not state its own."""
        struct = event_struct(self.components[0])
        supports = [support_of(component) for component in self.components]
        if any(support is None for support in supports):
            return (
                jax.tree.map(lambda s: jnp.full(s.shape, -jnp.inf), struct),
                jax.tree.map(lambda s: jnp.full(s.shape, jnp.inf), struct),
            )
        lowers, uppers = zip(*supports, strict=True)
        return _fold(jnp.minimum, lowers), _fold(jnp.maximum, uppers)

    def sample(self, key: PRNGKeyArray) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], self.sample_many(key, 1))

    def sample_many(self, key: PRNGKeyArray, num: int) -> Any:
        if is_transport(self) and not prefers_sample_many(self):
            return sample_many(self, key, num)
        return self.sample_many_labelled(key, num)[0]

    def sample_many_labelled(self, key: PRNGKeyArray, num: int) -> tuple[Any, Int[Array, " num"]]:
        """(samples, the component that drew each)."""
        choice_key, *keys = jax.random.split(key, 1 + len(self.components))
        v = numerics.centred_uniform(numerics.random_words(choice_key, (1, num)))
        chosen = jax.vmap(lambda one: choice.choose(self._log_weights, one))(v)
        return self._draw(keys, chosen), chosen

    def sample_components(self, key: PRNGKeyArray, chosen: Int[Array, " num"]) -> Any:
        """A sample of component chosen[i] for every i, along the first axis."""
        return self._draw([*jax.random.split(key, len(self.components))], chosen)

    def _draw(self, keys: Sequence[PRNGKeyArray], chosen: Int[Array, " num"]) -> Any:
        draws = [sample_many(component, k, len(chosen)) for component, k in zip(self.components, keys, strict=True)]
        return jax.vmap(lambda c, *x: choice.take(c, x))(chosen, *draws)

    def log_prob(self, x: Any) -> Float[Array, ""]:
        log_weights = self._log_weights
        return log_space.log_sum_exp([log_weights[k] + c.log_prob(x) for k, c in enumerate(self.components)])

    @property
    def _log_weights(self) -> Float[Array, " k"]:
        return log_space.log_weights_of(self.weights)

    def _forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Any, Float[Array, ""]]:
        x = self.forward_labelled(v)[0]
        return x, self.log_prob(x)

    def forward_labelled(self, v: Float[Array, " num_uniforms"]) -> tuple[Any, Int[Array, ""]]:
        """(sample, the component that drew it), for components that are transports."""
        chosen = choice.choose(self._log_weights, v[0])
        if _alike_and_small(self.components):
            component = choice.take(chosen, self.components)
            return component.forward(v[1 : 1 + component.num_uniforms])[0], chosen
        return choice.take(chosen, [c.forward(v[1 : 1 + c.num_uniforms])[0] for c in self.components]), chosen


class Labelled(eqx.Module):
    """A mixture whose event is (x, the component that drew it), for weights that depend on the component.

    It is drawn from, never weighed: its log density is 0.
    """

    mixture: Mixture

    @property
    def num_uniforms(self) -> int:
        return self.mixture.num_uniforms

    @property
    def forward(self) -> Callable[[Array], tuple[Any, Array]]:
        _ = self.mixture.forward  # raises AttributeError where a component is not a transport
        return lambda v: (self.mixture.forward_labelled(v), jnp.zeros((), v.dtype))

    def sample(self, key: PRNGKeyArray) -> Any:
        return jax.tree.map(lambda leaf: leaf[0], self.sample_many(key, 1))

    def sample_many(self, key: PRNGKeyArray, num: int) -> Any:
        return self.mixture.sample_many_labelled(key, num)

    def sample_components(self, key: PRNGKeyArray, chosen: Int[Array, " num"]) -> Any:
        return self.mixture.sample_components(key, chosen), chosen

    def log_prob(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros((), numerics.float_dtype())


def check_weights(family: str, weights: Array, num: int) -> None:
    """Raise unless there is one weight for each component and, where they are concrete, they are probabilities."""
    if num == 0:
        raise ValueError(f"{family}: the list of components is empty.")
    if weights.shape != (num,):
        raise ValueError(f"{family}: {num} components need weights of shape ({num},), got shape {weights.shape}.")
    known = concrete(weights)
    if known is None:
        return
    if not np.all(known >= 0):  # NaN fails this too
        raise ValueError(f"{family}: weights must not be negative, got {known}.")
    if abs(known.sum(dtype=np.float64) - 1.0) > _TOLERANCE:
        raise ValueError(f"{family}: weights must sum to 1, got {known}, whose sum is {known.sum():.7g}.")


def describe(struct: PyTree[jax.ShapeDtypeStruct]) -> str:
    """An event's shapes and dtypes in words."""
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(struct))


def _alike_and_small(components: tuple[Distribution, ...]) -> bool:
    """Whether choosing among parameters is cheaper than drawing from every component."""
    structures = {jax.tree.structure(component) for component in components}
    shapes = {tuple(leaf.shape for leaf in _arrays(component)) for component in components}
    num_parameters = sum(leaf.size for leaf in _arrays(components[0]))
    only_arrays = len(jax.tree.leaves(components[0])) == len(_arrays(components[0]))
    return len(structures) == len(shapes) == 1 and only_arrays and num_parameters <= 8 * components[0].num_uniforms


def _arrays(component: Distribution) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(component) if eqx.is_array(leaf)]


def _fold(combine: Callable[[Array, Array], Array], bounds: Sequence[PyTree[Array]]) -> PyTree[Array]:
    result = bounds[0]
    for bound in bounds[1:]:
        result = jax.tree.map(combine, result, bound)
    return result
