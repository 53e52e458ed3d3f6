"""Functions that jump, whose derivative is 0 almost everywhere and says nothing of the jumps."""

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero


def refuse_derivative(function: Callable[..., Any], why: str) -> Callable[..., Any]:
    """`function` so that differentiating along any of its arguments raises `ValueError(why)` instead of giving 0."""
    guarded = jax.custom_jvp(function)

    def rule(primals, tangents):
        if not all(isinstance(t, SymbolicZero) for t in tangents):
            raise ValueError(why)
        out = guarded(*primals)
        return out, SymbolicZero.from_primal_value(out)

    guarded.defjvp(rule, symbolic_zeros=True)  # pyright: ignore[reportArgumentType]
    return guarded
