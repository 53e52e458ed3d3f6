"""Laws on a few integers: categorical and Bernoulli."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine.distributions import choice
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import uniforms_of_event
from mcengine.numerics import log_space
from mcengine.numerics.values import as_parameter, concrete

_TOLERANCE = 1e-5


class Categorical(eqx.Module):
    """Categories 0, ..., K - 1 (int32), one independent coordinate for each row of the parameters.

    log_prob(x) = sum_i log p_i(x_i); -inf for anything that is no category.

    **Arguments:** `probabilities`, [*event, K], non-negative and summing to 1 within 1e-5 along the last axis, or
    `logits`, [*event, K], log-probabilities up to a constant. Kept as `logits`.

    **Raises:** `ValueError` for probabilities that are none; when drawn from, if differentiated along them (see
    `mcengine.distributions.choice`).
    """

    logits: Float[Array, "*event k"]

    def __init__(self, probabilities=None, *, logits=None):
        if (probabilities is None) == (logits is None):
            raise ValueError("Categorical: give either probabilities or logits, and not both.")
        if logits is not None:
            self.logits = as_parameter(logits)
        else:
            probabilities = as_parameter(probabilities)
            _check_probabilities(probabilities)
            self.logits = log_space.log_weights_of(probabilities)

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
    def support(self):
        lower = jnp.zeros(self.logits.shape[:-1], jnp.int32)
        return lower, jnp.full_like(lower, self.logits.shape[-1] - 1)

    @property
    def log_probabilities(self) -> Float[Array, "*event k"]:
        """Normalised logits."""
        return jax.nn.log_softmax(self.logits, axis=-1)

    def forward(self, v: Float[Array, " num_uniforms"]):
        x = choice.choose(self.log_probabilities, uniforms_of_event(v, self.logits.shape[:-1]))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        """Accepts floats too: 1.0 is category 1, 1.5 is none."""
        x = jnp.asarray(x)
        if x.shape != self.logits.shape[:-1]:
            raise ValueError(f"Categorical: an event has shape {self.logits.shape[:-1]}, got x of shape {x.shape}.")
        categories = jnp.arange(self.logits.shape[-1], dtype=x.dtype)
        # A comparison with every category instead of a gather: faster for a few, and it finds no category for 1.5.
        chosen = x[..., None] == categories.reshape((1,) * x.ndim + categories.shape)
        log_p = jnp.sum(jnp.where(chosen, self.log_probabilities, 0.0), axis=-1)
        return jnp.sum(jnp.where(jnp.any(chosen, axis=-1), log_p, -jnp.inf))


def _check_probabilities(probabilities):
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

    **Arguments:** `probability` in [0, 1], or `logits` = log p - log(1 - p), which can say p = 1 - 1e-30. Kept as
    `logits`.
    """

    logits: Float[Array, "*event"]

    def __init__(self, probability=None, *, logits=None):
        if (probability is None) == (logits is None):
            raise ValueError("Bernoulli: give either probability or logits, and not both.")
        if logits is not None:
            self.logits = as_parameter(logits)
        else:
            probability = as_parameter(probability)
            known = concrete(probability)
            if known is not None and not np.all((known >= 0) & (known <= 1)):
                raise ValueError(f"Bernoulli: probability must lie between 0 and 1, got {known}.")
            self.logits = jnp.log(probability) - jnp.log1p(-probability)

    def __check_init__(self):
        known = concrete(self.logits)
        if known is not None and np.any(np.isnan(known)):
            raise ValueError(f"Bernoulli: logits must not be NaN, got {known}.")

    @property
    def probability(self) -> Float[Array, "*event"]:
        return jax.nn.sigmoid(self.logits)

    @property
    def num_uniforms(self) -> int:
        return int(np.prod(self.logits.shape))

    @property
    def support(self):
        lower = jnp.zeros(self.logits.shape, jnp.int32)
        return lower, jnp.ones_like(lower)

    def forward(self, v: Float[Array, " num_uniforms"]):
        log_probabilities = jnp.stack([jax.nn.log_sigmoid(-self.logits), jax.nn.log_sigmoid(self.logits)], axis=-1)
        x = choice.choose(log_probabilities, uniforms_of_event(v, self.logits.shape))
        return x, self.log_prob(x)

    def sample(self, key: PRNGKeyArray):
        return sample_by_transport(self, key)

    def log_prob(self, x) -> Float[Array, ""]:
        x = jnp.asarray(x)
        if x.shape != self.logits.shape:
            raise ValueError(f"Bernoulli: an event has shape {self.logits.shape}, got x of shape {x.shape}.")
        one, zero = jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)
        return jnp.sum(jnp.where(x == 1, one, jnp.where(x == 0, zero, -jnp.inf)))
