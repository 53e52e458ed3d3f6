"""Rows of moments into one: exact merging, in a fixed tree, so that nobody can tell who computed which block."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from mcengine import numerics
from mcengine.numerics import exact_sums
from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.component_sums import have_same_components, merge_component_sums
from mcengine.summaries.layout import OWN_CUBES, SummaryLayout
from mcengine.summaries.summary import Moments, SampleStats, Summary


def merge_pair(a: Summary, b: Summary) -> Summary:
    """The row of two disjoint sets of samples (Chan, Golub and LeVeque 1979), scales reconciled.

    Works elementwise over leading axes, so that one call merges many pairs.
    """
    moments, stats = _merge_moments(a.moments, b.moments), _merge_stats(a.stats, b.stats)
    return Summary(moments, stats, merge_component_sums(a.component_sums, b.component_sums))


def _common_scale(a: AnyArray, b: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    scale = namespace(a).maximum(a, b)
    safe = finite(scale)
    return scale, numerics.two_to(a - safe), numerics.two_to(b - safe)


def _merge_moments(a: Moments, b: Moments) -> Moments:
    scale, ra, rb = _common_scale(a.exponent, b.exponent)
    count = a.count + b.count
    share = (b.count / namespace(count).maximum(count, 1.0))[..., None]
    mean_a, delta = a.mean * ra, b.mean * rb - a.mean * ra
    first_aux = SummaryLayout.of(a).first_cross
    factor = a.count[..., None] * share
    cross = (
        a.cross * ra[..., :, None] * ra[..., None, first_aux:]
        + b.cross * rb[..., :, None] * rb[..., None, first_aux:]
        + factor[..., None] * delta[..., :, None] * delta[..., None, first_aux:]
    )
    m2 = a.m2 * ra * ra + b.m2 * rb * rb + factor * delta * delta
    total = exact_sums.add(a.total * ra[..., None], b.total * rb[..., None])
    third = _merge_thirds(a, b, ra, rb, share=share, delta=delta)
    return Moments(count, scale, mean_a + delta * share, m2, cross, total, third)


def _merge_thirds(
    a: Moments, b: Moments, ra: AnyArray, rb: AnyArray, *, share: AnyArray, delta: AnyArray
) -> Float[AnyArray, "*batch C D"]:
    """Third moments of both: each product of three is shifted from its own mean to the common one (Pebay 2008).

    `ra` and `rb` bring a and b to the common scale, `share` is that of b's units, `delta` the difference of means.
    """
    if not a.third.shape[-1]:
        return a.third
    of_a, of_b = _shifted_thirds(a, ra, -share * delta), _shifted_thirds(b, rb, (1.0 - share) * delta)
    return namespace(delta).stack([x + y for x, y in zip(of_a, of_b, strict=True)], axis=-1)


def _shifted_thirds(m: Moments, r: AnyArray, shift: AnyArray) -> list[AnyArray]:
    """The columns of `third`, times r per factor, about a mean that is further down by `shift`."""
    layout, n, m2 = SummaryLayout.of(m), m.count[..., None], m.m2 * r * r
    found: list[AnyArray] = [m.third[..., OWN_CUBES] * r**3 + 3.0 * shift * m2 + n * shift**3]
    for denominator in layout.denominators:
        b = slice(denominator, denominator + 1)
        r_b, shift_b, m2_b = r[..., b], shift[..., b], m2[..., b]
        yyb, ybb = layout.cubes_with(denominator)
        with_b = m.cross[..., layout.cross_with([denominator])[0]] * r * r_b
        found += [
            m.third[..., yyb] * r * r * r_b + 2.0 * shift * with_b + shift_b * m2 + n * shift * shift * shift_b,
            m.third[..., ybb] * r * r_b**2 + 2.0 * shift_b * with_b + shift * m2_b + n * shift * shift_b**2,
        ]
    return found


def _merge_stats(a: SampleStats, b: SampleStats) -> SampleStats:
    xp = namespace(a.exponent)
    scale, ra, rb = _common_scale(a.exponent, b.exponent)
    length = max(a.log_tail.shape[-1], b.log_tail.shape[-1])
    both = xp.concatenate([a.log_tail, b.log_tail], axis=-1)
    log_tail = -xp.sort(-both, axis=-1)[..., :length]
    return SampleStats(
        a.num_samples + b.num_samples,
        a.num_nonfinite + b.num_nonfinite,
        scale,
        a.sum_abs * ra + b.sum_abs * rb,
        a.sum_squares * ra * ra + b.sum_squares * rb * rb,
        xp.maximum(a.max_abs * ra, b.max_abs * rb),
        a.hits + b.hits,
        a.removed * ra + b.removed * rb,
        log_tail,
        a.tail_hits + b.tail_hits,
    )


def as_one_unit(summary: Summary) -> Summary:
    """The row of samples that are all of one unit: their mean is one number to the error bar."""
    m = summary.moments
    xp = namespace(m.mean)
    m2, cross, third = (xp.zeros_like(about_mean) for about_mean in (m.m2, m.cross, m.third))
    return Summary(
        Moments(xp.ones_like(m.count), m.exponent, m.mean, m2, cross, m.total, third),
        summary.stats,
        summary.component_sums,
    )


def alike(*summaries: Summary) -> list[Summary]:
    """The summaries with the fields that all of them keep: third moments of long units, sums of the same components."""
    kept = min(summary.moments.third.shape[-1] for summary in summaries)
    same = all(have_same_components(summaries[0].component_sums, summary.component_sums) for summary in summaries)
    cut = [eqx.tree_at(lambda r: r.moments.third, summary, summary.moments.third[..., :kept]) for summary in summaries]
    return cut if same else [dataclasses.replace(summary, component_sums=None) for summary in cut]


def merge_all(summaries: Summary, tail_length: int | None = None) -> Summary:
    """Merge rows stacked along the first axis, in a fixed binary tree over their order.

    The tree depends on the number of rows alone, so that the result does not depend on who computed which. Of all tails
    the `tail_length` largest values are kept, by default as many as a row has.
    """
    return merge_stacks([summaries], tail_length)


def merge_stacks(stacks: list[Summary], tail_length: int | None = None) -> Summary:
    """The same for rows in several stacks, one after the other; each stack has its own length of tail, or none."""
    tails = [summaries.stats.log_tail for summaries in stacks]
    xp = namespace(tails[0])
    if tail_length is None:
        tail_length = max(tail.shape[-1] for tail in tails)
    # Sorted once for all rows, not at every level of the tree.
    tails = [xp.moveaxis(tail, 0, -2).reshape(*tail.shape[1:-1], -1) for tail in tails]
    log_tail = -xp.sort(-xp.concatenate(tails, axis=-1), axis=-1)[..., :tail_length]
    summaries = map_summaries(
        lambda *leaves: xp.concatenate(leaves),
        *(_with_tail(summaries, summaries.stats.log_tail[..., :0]) for summaries in stacks),
    )
    return _with_tail(_merge_tree(summaries), log_tail)


def _merge_tree(summaries: Summary) -> Summary:
    xp = namespace(summaries.moments.mean)
    while (n := len(summaries.moments.count)) > 1:
        pairs = [map_summaries(lambda leaf, i=i: leaf[i : n - n % 2 : 2], summaries) for i in range(2)]
        merged = merge_pair(*pairs)
        last = map_summaries(lambda leaf: leaf[n - 1 :], summaries)
        summaries = map_summaries(lambda x, y: xp.concatenate([x, y]), merged, last) if n % 2 else merged
    return map_summaries(lambda leaf: leaf[0], summaries)


def map_summaries(function: Callable[..., AnyArray], *summaries: Summary) -> Summary:
    """`function` of the leaves of the summaries, leaf by leaf."""
    return jax.tree.map(function, *summaries)


def _with_tail(summaries: Summary, log_tail: AnyArray) -> Summary:
    return eqx.tree_at(lambda summary: summary.stats.log_tail, summaries, log_tail)


def stack_summaries(summaries: list[Summary]) -> Summary:
    """Rows along a new first axis; shorter tails are padded."""
    length = max(summary.stats.log_tail.shape[-1] for summary in summaries)
    return map_summaries(lambda *leaves: np.stack(leaves), *(_padded(summary, length) for summary in summaries))


def _padded(summary: Summary, length: int) -> Summary:
    tail = np.asarray(summary.stats.log_tail)
    width = [(0, 0)] * (tail.ndim - 1) + [(0, length - tail.shape[-1])]
    return _with_tail(summary, np.pad(tail, width, constant_values=-np.inf))
