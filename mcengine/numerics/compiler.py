"""What XLA on CPU must be told to make fast kernels: its options, and values that it must not compute twice."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

Tree = TypeVar("Tree")

# For `jax.jit(..., compiler_options=KERNEL_OPTIONS)`. XLA on CPU uses vectors of 256 bits by default. With 512 bits a
# kernel of few loads and many products is 1.2 to 1.4 times faster; a machine without them uses the widest that it has.
KERNEL_OPTIONS = {"xla_cpu_prefer_vector_width": 512}


def fence(tree: Tree) -> Tree:
    """The same values, computed once: for expensive values that have several consumers.

    XLA on CPU repeats producers that it takes for cheap (generator, polynomials, weights) inside each of their
    consumers, but it never repeats a division. So each float is divided by 1, written as 1 or-ed with bits of the value
    itself that are shifted out: XLA does not see through this when it decides what to repeat, and LLVM does when it
    generates the code, so that the division costs nothing.

    Two simpler ways fail. For a divisor that is the same number for all entries, XLA multiplies by its reciprocal, and
    repeats the product. `lax.optimization_barrier` is removed before the decision; it does hold between the steps of a
    `scan`, and is used for integers.
    """
    return jax.tree.map(_fence, tree)


def _fence(leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return lax.optimization_barrier(leaf)
    bits = lax.bitcast_convert_type(leaf, jnp.uint32 if leaf.dtype == jnp.float32 else jnp.uint64)
    zero = lax.shift_right_logical(
        lax.shift_right_logical(bits, _word(8 * bits.dtype.itemsize - 1, bits)), _word(1, bits)
    )
    one = lax.bitcast_convert_type(jnp.ones((), leaf.dtype), bits.dtype)
    return leaf / lax.bitcast_convert_type(zero | one, leaf.dtype)


def _word(number: int, like: Array) -> Array:
    return lax.full_like(like, number)
