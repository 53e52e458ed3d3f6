"""Tricks for the compiler, each with its reason."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# For `jax.jit(..., compiler_options=KERNEL_OPTIONS)`. XLA on CPU takes vectors of 256 bits unless told so; longer
# ones make a kernel of few loads and many products 1.2 to 1.4 times faster. A machine without them takes what it has.
KERNEL_OPTIONS = {"xla_cpu_prefer_vector_width": 512}


def fence(tree):
    """The same values, computed once: for what several consumers read and is dear to compute.

    XLA on CPU repeats cheap producers (generator, polynomials, weights) inside each of their consumers, but not a
    division. This one divides by 1 + 0 bits of the value itself, which XLA does not look through when it chooses what
    to repeat, and LLVM does when it makes the code, so that nothing is left of it. By a number that is 1 at run time it
    would not do: XLA multiplies by the reciprocal of a common divisor, and a product is repeated.
    `lax.optimization_barrier` is dropped before the choice is made; it does hold between the steps of a `scan`, and is
    what whole numbers get.
    """
    return jax.tree.map(_fence, tree)


def _fence(leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return lax.optimization_barrier(leaf)
    bits = lax.bitcast_convert_type(leaf, jnp.uint32 if leaf.dtype == jnp.float32 else jnp.uint64)
    none = lax.shift_right_logical(
        lax.shift_right_logical(bits, _word(8 * bits.dtype.itemsize - 1, bits)), _word(1, bits)
    )
    one = lax.bitcast_convert_type(jnp.ones((), leaf.dtype), bits.dtype)
    return leaf / lax.bitcast_convert_type(none | one, leaf.dtype)


def _word(number: int, like: Array) -> Array:
    return lax.full_like(like, number)
