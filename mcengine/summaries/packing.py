"""A row as one flat array: XLA compiles a kernel for every array that it returns, and a row has seventeen."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.numerics.arrays import AnyArray
from mcengine.summaries.summary import Summary


def pack(summary: Summary) -> Float[Array, " F"]:
    """All numbers of a row, leaf after leaf."""
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(summary)])


def unpack(flat: Float[AnyArray, "*rows F"], like: Summary) -> Summary:
    """The row whose leaves have the shapes of `like`, with the leading axes of `flat`."""
    leaves, treedef = jax.tree.flatten(like)
    ends = np.cumsum([math.prod(leaf.shape) for leaf in leaves])
    parts = np.split(np.asarray(flat), ends[:-1], axis=-1)
    shaped = [part.reshape(*flat.shape[:-1], *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)
