"""Distributions on a few integers: categorical and Bernoulli."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mcengine.distributions import choice
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import Event, uniforms_of_event
from mcengine.numerics import log_space
from mcengine.numerics.values import Parameter, as_parameter, concrete

_TOLERANCE = 1e-5


class Categorical(eqx.Module):
    """Categories 0, ..., K - 1 (int32), one independent coordinate for each row of the parameters.

    log_prob(x) = sum_i log p_i(x_i); -inf for a number that is not a category.

    **Arguments:** `probabilities`, [*event, K], non-negative and summing to 1 within 1e-5 along the last axis, or
    `logits`, [*event, K], log-probabilities up to a constant. Kept as `logits`.

    **Raises:** `ValueError` for probabilities that are negative or do not sum to 1; also when samples are
    differentiated along them (see `mcengine.distributions.choice`).
    """

    logits: Float[Array, "*event k"]

    def __init__(self, probabilities: Parameter | None = None, *, logits: Parameter | None = None) -> None:
        if logits is not None and probabilities is None:
            self.logits = as_parameter(logits)
        elif probabilities is not None and logits is None:
            probabilities = as_parameter(probabilities)
            _check_probabilities(probabilities)
            self.logits = log_space.log_weights_of(probabilities)
        else:
            raise ValueError("Categorical: give either probabilities or logits, and not both.")

    def __check_init__(self):
        if self.logits.ndim == 0 or self.logits.shape[-1] == 0:
            raise ValueError(f"Categorical: there is no category in parameters of shape {self.logits.shape}.")
        known = concrete(self.logits)
        if known is not None and (np.any(np.isnan(known)) or not np.all(np.isfinite(known.max(axis=-1)))):
            raise ValueError(f"Categorical: logits must hold a finite largest value and no NaN, got {known}.")

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self.logits.shape[:-1]))

    @property
    def support(self) -> tuple[Int[Array, "*event"], Int[Array, "*event"]]:
        lower = jnp.zeros(self.logits.shape[:-1], jnp.int32)
        return lower, jnp.full_like(lower, self.logits.shape[-1] - 1)

    @property
    def log_probabilities(self) -> Float[Array, "*event k"]:
        """Normalised logits."""
        return jax.nn.log_softmax(self.logits, axis=-1)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Int[Array, "*event"], Float[Array, ""]]:
        x = choice.choose(self.log_probabilities, uniforms_of_event(v, self.logits.shape[:-1]))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*event"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        """Accepts floats too: 1.0 is category 1, and 1.5 has log density -inf."""
        x = jnp.asarray(x)
        if x.shape != self.logits.shape[:-1]:
            raise ValueError(f"Categorical: an event has shape {self.logits.shape[:-1]}, got x of shape {x.shape}.")
        categories = jnp.arange(self.logits.shape[-1], dtype=x.dtype)
        # A comparison with every category instead of a gather: it is faster for a few, and 1.5 matches none.
        chosen = x[..., None] == categories.reshape((1,) * x.ndim + categories.shape)
        log_p = jnp.sum(jnp.where(chosen, self.log_probabilities, 0.0), axis=-1)
        return jnp.sum(jnp.where(jnp.any(chosen, axis=-1), log_p, -jnp.inf))


def _check_probabilities(probabilities: Float[Array, "*event k"]) -> None:
    known = concrete(probabilities)
    if known is None or known.ndim == 0:
        return
    if not np.all(known >= 0):
        raise ValueError(f"Categorical: probabilities must not be negative, got {known}.")
    totals = known.sum(axis=-1, dtype=np.float64)
    if not np.all(np.abs(totals - 1.0) <= _TOLERANCE):
        raise ValueError(f"Categorical: probabilities must sum to 1, got {known}, whose sum is {totals}.")


class Bernoulli(eqx.Module):
    """1 with the given probability, else 0 (int32), one independent coordinate per entry.

    log_prob(x) = sum_i log p_i where x_i = 1 and log(1 - p_i) where x_i = 0; -inf for anything else.

    **Arguments:** `probability` in [0, 1], or `logits` = log p - log(1 - p), which resolve p = 1 - 1e-30. Kept as
    `logits`.
    """

    logits: Event

    def __init__(self, probability: Parameter | None = None, *, logits: Parameter | None = None) -> None:
        if logits is not None and probability is None:
            self.logits = as_parameter(logits)
        elif probability is not None and logits is None:
            probability = as_parameter(probability)
            known = concrete(probability)
            if known is not None and not np.all((known >= 0) & (known <= 1)):
                raise ValueError(f"Bernoulli: probability must lie between 0 and 1, got {known}.")
            self.logits = jnp.log(probability) - jnp.log1p(-probability)
        else:
            raise ValueError("Bernoulli: give either probability or logits, and not both.")

    def __check_init__(self):
        known = concrete(self.logits)
        if known is not None and np.any(np.isnan(known)):
            raise ValueError(f"Bernoulli: logits must not be NaN, got {known}.")

    @property
    def probability(self) -> Event:
        return jax.nn.sigmoid(self.logits)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self.logits.shape))

    @property
    def support(self) -> tuple[Int[Array, "*event"], Int[Array, "*event"]]:
        lower = jnp.zeros(self.logits.shape, jnp.int32)
        return lower, jnp.ones_like(lower)

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Int[Array, "*event"], Float[Array, ""]]:
        log_probabilities = jnp.stack([jax.nn.log_sigmoid(-self.logits), jax.nn.log_sigmoid(self.logits)], axis=-1)
        x = choice.choose(log_probabilities, uniforms_of_event(v, self.logits.shape))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray) -> Int[Array, "*event"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        x = jnp.asarray(x)
        if x.shape != self.logits.shape:
            raise ValueError(f"Bernoulli: an event has shape {self.logits.shape}, got x of shape {x.shape}.")
        one, zero = jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)
        return jnp.sum(jnp.where(x == 1, one, jnp.where(x == 0, zero, -jnp.inf)))
