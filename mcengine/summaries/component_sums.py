"""What each component of a mixture proposal is due to contribute, by the densities of all: a sign of those hardly met.

Points with structure, and fixed counts, take nearly all variance away where every component does its own part. What is
left may be one that meets the integrand by itself once in many units: until it does, units are alike and their error
bar is next to nothing. The samples of the others know better: where a BSDF and a lamp share the work, the lamp's
samples tell how often directions of the BSDF meet the lamp, and what each of them will bring. To meet is to find w f
other than about 0: what comes rarely on top of a large constant is not seen.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcengine import numerics
from mcengine.summaries.columns import AnyArray, ScaledColumns, column_sums, finite

# A component is hardly met by so few equal contributions, all units together, and by less than one in two units: no
# points spread it evenly then, and it varies like counts of rare events.
FEW_CONTRIBUTIONS = 20.0
CONTRIBUTIONS_PER_UNIT = 0.5
# Rare among its draws too: of a small share whose every draw contributes about the same, another's would be as good.
RARE = 0.5
# Its own variance is missing where it is more than so many times what units show: half of what was due has come.
MISSING = 2.0


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


def merge_component_sums(a: ComponentSums | None, b: ComponentSums | None, xp: Any) -> ComponentSums | None:
    """Those of two disjoint sets of samples; None where one of them has none."""
    if a is None or b is None:
        return None
    exponent = xp.maximum(a.exponent, b.exponent)
    scales = [numerics.two_to(x.exponent - finite(exponent, xp), xp)[..., None] for x in (a, b)]
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


def undersampled(sums: ComponentSums, moments: Any, num_samples: Any, pairs: Any, xp: Any) -> Any:
    """Whether some component is hardly met and what it was due has not come, for the first outputs, [..., D].

    `pairs` divides sums of squares of units to be the variance of their mean.
    """
    num_tailed = sums.exponent.shape[-1]
    scale = numerics.two_to(finite(moments.exponent[..., :num_tailed], xp) - finite(sums.exponent, xp), xp)
    seen = scale**2 * moments.m2[..., :num_tailed] / pairs[..., None]
    squared, second = sums.first**2, sums.second
    few = squared < second * xp.minimum(CONTRIBUTIONS_PER_UNIT * moments.count, FEW_CONTRIBUTIONS)[..., None, None]
    within = second - squared / xp.where(sums.drawn > 0, sums.drawn, 1.0)[..., None, :]
    missing = within > MISSING * (seen * num_samples[..., None] ** 2)[..., None]
    return xp.any(few & (within > RARE * second) & missing, axis=-1)
