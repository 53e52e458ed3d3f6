"""Reductions: from terms, [..., T] (or [..., 1], one per sequence), and a mask to the number that is maximised.

Libraries differ most in this choice, and it changes how much a long sequence counts. Sums, counts and results are at
least float32.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mcengine.rl.inputs import as_float

Terms = Float[Array, "*batch T"]
Mask = Bool[Array, "*batch T"]
Reduction = Callable[[Array, Array], Array]


def token_mean(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """Sum of unmasked terms / number of unmasked terms: every token counts the same. NaN if all are masked."""
    kept = _kept(terms, mask)
    return jnp.sum(kept) / jnp.sum(mask).astype(kept.dtype)


def sequence_mean(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """Mean over sequences of the mean over their tokens (GRPO): a token of a short sequence counts more.

    Sequences without unmasked terms are left out. NaN if all are masked.
    """
    kept = _kept(terms, mask)
    lengths = jnp.sum(mask, axis=-1).astype(kept.dtype)
    means = jnp.sum(kept, axis=-1) / jnp.maximum(lengths, 1.0)
    return jnp.sum(means) / _number_of_sequences(mask, kept.dtype)


def sequence_sum(terms: Terms, mask: Mask) -> Float[Array, ""]:
    """Mean over sequences of the sum over their tokens: its gradient is that of an expected return."""
    kept = _kept(terms, mask)
    return jnp.sum(kept) / _number_of_sequences(mask, kept.dtype)


class ConstantLength(eqx.Module):
    """Mean over sequences of the sum over their tokens, divided by one `length` for all sequences (Dr. GRPO)."""

    length: float = eqx.field(static=True)

    def __check_init__(self):
        if not self.length > 0:
            raise ValueError(f"ConstantLength: length must be positive, got {self.length}.")

    def __call__(self, terms: Terms, mask: Mask) -> Float[Array, ""]:
        return sequence_sum(terms, mask) / self.length


def _kept(terms: Terms, mask: Mask) -> Terms:
    return jnp.where(mask, as_float(terms), 0.0)


def _number_of_sequences(mask: Mask, dtype: DTypeLike) -> Float[Array, ""]:
    return jnp.sum(jnp.any(mask, axis=-1)).astype(dtype)
