"""Reductions: terms of steps, [..., T] (or [..., 1], one a sequence) and a mask, to the one number that is maximised.

Libraries differ here more than anywhere else, and it changes how much a long sequence counts. Sums and counts are at
least float32, and so is the result.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcengine.rl.inputs import as_float

Terms = Float[Array, "*batch T"]
Mask = Bool[Array, "*batch T"]


def token_mean(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """sum / number of unmasked terms: every token counts the same. NaN where the mask leaves nothing."""
    kept = _kept(terms, mask)
    return jnp.sum(kept) / jnp.sum(mask).astype(kept.dtype)


def sequence_mean(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """Mean over sequences of the mean over their tokens (GRPO): a token of a short sequence counts more.

    Sequences without an unmasked term are left out. NaN where the mask leaves nothing.
    """
    kept = _kept(terms, mask)
    lengths = jnp.sum(mask, axis=-1).astype(kept.dtype)
    means = jnp.sum(kept, axis=-1) / jnp.maximum(lengths, 1.0)
    return jnp.sum(means) / _number_of_sequences(mask, kept.dtype)


def sequence_sum(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """Mean over sequences of the sum over their tokens: the gradient of an expected return."""
    kept = _kept(terms, mask)
    return jnp.sum(kept) / _number_of_sequences(mask, kept.dtype)


class ConstantLength(eqx.Module):
    """Mean over sequences of the sum over their tokens, over one `length` for all (Dr. GRPO)."""

    length: float = eqx.field(static=True)

    def __check_init__(self):
        if not self.length > 0:
            raise ValueError(f"ConstantLength: length must be positive, got {self.length}.")

    def __call__(self, terms: Terms, mask: Mask) -> Float[Array, ""]:
        return sequence_sum(terms, mask) / self.length


def _kept(terms: Terms, mask: Mask) -> Terms:
    return jnp.where(mask, as_float(terms), 0.0)


def _number_of_sequences(mask: Mask, dtype) -> Float[Array, ""]:
    return jnp.sum(jnp.any(mask, axis=-1)).astype(dtype)
