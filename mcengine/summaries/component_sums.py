"""The expected contribution of each mixture component to the estimate, which shows components that were undersampled.

Points with structure, and fixed counts, take nearly all variance away where every component does its own part. What is
left may be one that meets the integrand by itself once in many units: until it does, units are alike and their error
bar is next to nothing. The samples of the others know better: where a BSDF and a lamp share the work, the lamp's
samples tell how often directions of the BSDF meet the lamp, and what each of them will bring. To meet is to find w f
other than about 0: what comes rarely on top of a large constant is not seen.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import ScaledColumns, column_sums, finite


class ComponentSums(eqx.Module):
    """Expected sums over the samples of each of G components: `first` of |y|, `second` of y^2, w f = 2^exponent y.

    They are kept for the columns D that keep a tail. Every sample contributes to the sums of all components (see
    `mis.expected_contributions`). `drawn` is the number of samples that a component draws.
    """

    drawn: Float[AnyArray, "*rows G"]
    exponent: Float[AnyArray, "*rows D"]
    first: Float[AnyArray, "*rows D G"]
    second: Float[AnyArray, "*rows D G"]


class ComponentFactors(NamedTuple):
    """The shares of the components, and the factors a and b of `mis.expected_contributions` for each sample."""

    alpha: Float[Array, " G"]
    a: Float[Array, "G n"]
    b: Float[Array, "G n"]


def component_sums_of_block(columns: ScaledColumns, num_valid: Array, factors: ComponentFactors) -> ComponentSums:
    """Those of a block, of which the first `num_valid` samples count."""
    exponent, y, (alpha, a, b) = lax.stop_gradient((columns.exponent, columns.y, factors))
    # An output at a time: all of them times all components would be many.
    first = jnp.stack([column_sums(a * jnp.abs(row)) for row in y[:, None]])
    second = jnp.stack([column_sums(b * (row * row)) for row in y[:, None]])
    return ComponentSums(alpha.astype(y.dtype) * num_valid.astype(y.dtype), exponent, first, second)


def merge_component_sums(a: ComponentSums | None, b: ComponentSums | None) -> ComponentSums | None:
    """Those of two disjoint sets of samples; None where one of them has none."""
    if a is None or b is None:
        return None
    exponent = namespace(a.exponent).maximum(a.exponent, b.exponent)
    scales = [numerics.two_to(x.exponent - finite(exponent))[..., None] for x in (a, b)]
    first = a.first * scales[0] + b.first * scales[1]
    second = a.second * scales[0] ** 2 + b.second * scales[1] ** 2
    return ComponentSums(a.drawn + b.drawn, exponent, first, second)


def have_same_components(a: ComponentSums | None, b: ComponentSums | None) -> bool:
    """Whether both are of components with the same shares, as far as can be told."""
    if a is None or b is None:
        return a is b
    if a.first.shape != b.first.shape:
        return False
    of_a, of_b = (np.asarray(x.drawn) / np.sum(x.drawn) for x in (a, b))
    return np.allclose(of_a, of_b, atol=1e-6)


def slice_component_sums(sums: ComponentSums | None, tails: list[int]) -> ComponentSums | None:
    """Those of some of the columns."""
    if sums is None:
        return None
    return ComponentSums(sums.drawn, sums.exponent[..., tails], sums.first[..., tails, :], sums.second[..., tails, :])
