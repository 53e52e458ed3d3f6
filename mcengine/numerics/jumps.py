"""Functions with jumps, whose derivative of 0 would silently miss the jumps: differentiating them raises."""

from collections.abc import Callable

import jax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array


def refuse_derivative(function: Callable[..., Array], why: str) -> Callable[..., Array]:
    """`function` so that differentiating along any of its arguments raises `ValueError(why)` instead of giving 0."""
    guarded = jax.custom_jvp(function)

    def rule(
        primals: tuple[ArrayLike, ...], tangents: tuple[ArrayLike | SymbolicZero, ...]
    ) -> tuple[Array, SymbolicZero]:
        if not all(isinstance(t, SymbolicZero) for t in tangents):
            raise ValueError(why)
        out = guarded(*primals)
        return out, SymbolicZero.from_primal_value(out)

    guarded.defjvp(rule, symbolic_zeros=True)  # pyright: ignore[reportArgumentType]
    return guarded
