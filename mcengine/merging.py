"""Rows of moments into one: exact merging, in a fixed tree, so that nobody can tell who computed which block."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine import dues, exact_sums, numerics
from mcengine.columns import finite
from mcengine.moments import AnyArray, Moments, Row, SampleStats


def merge(a: Row, b: Row, xp: Any = np) -> Row:
    """The row of two disjoint sets of samples (Chan, Golub and LeVeque 1979), scales reconciled.

    Works elementwise over leading axes, so that one call merges many pairs.
    """
    moments, stats = _merge_moments(a.moments, b.moments, xp), _merge_stats(a.stats, b.stats, xp)
    return Row(moments, stats, dues.merge(a.dues, b.dues, xp))


def _common_scale(a: AnyArray, b: AnyArray, xp: Any) -> tuple[AnyArray, AnyArray, AnyArray]:
    scale = xp.maximum(a, b)
    safe = finite(scale, xp)
    return scale, numerics.two_to(a - safe, xp), numerics.two_to(b - safe, xp)


def _merge_moments(a: Moments, b: Moments, xp: Any) -> Moments:
    scale, ra, rb = _common_scale(a.exponent, b.exponent, xp)
    count = a.count + b.count
    share = (b.count / xp.maximum(count, 1.0))[..., None]
    mean_a, delta = a.mean * ra, b.mean * rb - a.mean * ra
    num_aux = a.cross.shape[-1]
    first_aux = a.mean.shape[-1] - num_aux
    factor = a.count[..., None] * share
    cross = (
        a.cross * ra[..., :, None] * ra[..., None, first_aux:]
        + b.cross * rb[..., :, None] * rb[..., None, first_aux:]
        + factor[..., None] * delta[..., :, None] * delta[..., None, first_aux:]
    )
    m2 = a.m2 * ra * ra + b.m2 * rb * rb + factor * delta * delta
    total = exact_sums.add(a.total * ra[..., None], b.total * rb[..., None], xp)
    third = _merge_thirds(a, b, ra, rb, share, delta, xp)
    return Moments(count, scale, mean_a + delta * share, m2, cross, total, third)


def _merge_thirds(a: Moments, b: Moments, ra: AnyArray, rb: AnyArray, share: AnyArray, delta: AnyArray, xp: Any) -> Any:
    """Third moments of both: each product of three is shifted from its own mean to the common one (Pebay 2008)."""
    if not (num_thirds := a.third.shape[-1]):
        return a.third

    def of(m: Moments, r: AnyArray, shift: AnyArray) -> list[Any]:
        n, m2 = m.count[..., None], m.m2 * r * r
        found = [m.third[..., 0] * r**3 + 3.0 * shift * m2 + n * shift**3]
        for i in range(1, num_thirds, 2):
            column = (i - num_thirds) // 2  # of the denominator b, from the last
            b = slice(column, column + 1 or None)
            r_b, shift_b, m2_b = r[..., b], shift[..., b], m2[..., b]
            with_b = m.cross[..., column] * r * r_b
            found += [
                m.third[..., i] * r * r * r_b + 2.0 * shift * with_b + shift_b * m2 + n * shift * shift * shift_b,
                m.third[..., i + 1] * r * r_b**2 + 2.0 * shift_b * with_b + shift * m2_b + n * shift * shift_b**2,
            ]
        return found

    both = zip(of(a, ra, -share * delta), of(b, rb, (1.0 - share) * delta), strict=True)
    return xp.stack([x + y for x, y in both], axis=-1)


def _merge_stats(a: SampleStats, b: SampleStats, xp: Any) -> SampleStats:
    scale, ra, rb = _common_scale(a.exponent, b.exponent, xp)
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


def as_one_unit(row: Row, xp: Any = jnp) -> Row:
    """The row of samples that are all of one unit: their mean is one number to the error bar."""
    m = row.moments
    m2, cross, third = (xp.zeros_like(about_mean) for about_mean in (m.m2, m.cross, m.third))
    return Row(Moments(xp.ones_like(m.count), m.exponent, m.mean, m2, cross, m.total, third), row.stats, row.dues)


def alike(*rows: Row) -> list[Row]:
    """The rows with what all of them keep: third moments are of long units, dues of components with the same shares."""
    kept = min(row.moments.third.shape[-1] for row in rows)
    same = all(dues.are_alike(rows[0].dues, row.dues) for row in rows)
    cut = [eqx.tree_at(lambda r: r.moments.third, row, row.moments.third[..., :kept]) for row in rows]
    return cut if same else [dataclasses.replace(row, dues=None) for row in cut]


def merge_all(rows: Row, xp: Any = np, tail_length: int | None = None) -> Row:
    """Merge rows stacked along the first axis, in a fixed binary tree over their order.

    The tree depends on the number of rows alone, so that the result does not depend on who computed which. Of all tails
    the `tail_length` largest values are kept, by default as many as a row has.
    """
    return merge_stacks([rows], xp, tail_length)


def merge_stacks(stacks: list[Row], xp: Any = np, tail_length: int | None = None) -> Row:
    """The same for rows in several stacks, one after the other; each stack has its own length of tail, or none."""
    tails = [rows.stats.log_tail for rows in stacks]
    if tail_length is None:
        tail_length = max(tail.shape[-1] for tail in tails)
    # Sorted once for all rows, not at every level of the tree.
    tails = [xp.moveaxis(tail, 0, -2).reshape(*tail.shape[1:-1], -1) for tail in tails]
    log_tail = -xp.sort(-xp.concatenate(tails, axis=-1), axis=-1)[..., :tail_length]
    rows = _map(
        lambda *leaves: xp.concatenate(leaves), *(_with_tail(rows, rows.stats.log_tail[..., :0]) for rows in stacks)
    )
    return _with_tail(_merge_tree(rows, xp), log_tail)


def _merge_tree(rows: Row, xp: Any) -> Row:
    while (n := len(rows.moments.count)) > 1:
        pairs = [_map(lambda leaf, i=i: leaf[i : n - n % 2 : 2], rows) for i in range(2)]
        merged = merge(*pairs, xp)
        last = _map(lambda leaf: leaf[n - 1 :], rows)
        rows = _map(lambda x, y: xp.concatenate([x, y]), merged, last) if n % 2 else merged
    return _map(lambda leaf: leaf[0], rows)


def _map(function: Any, *rows: Row) -> Row:
    return jax.tree.map(function, *rows)


def _with_tail(rows: Row, log_tail: AnyArray) -> Row:
    return eqx.tree_at(lambda row: row.stats.log_tail, rows, log_tail)


class RowTree:
    """Rows that arrive in order, merged in float64 in the same binary tree as `merge_all` over all of them.

    Complete aligned subtrees are folded as soon as they are there: `CHUNK` rows at once, which is quick where rows are
    small, or fewer where that would fill the memory, and then two subtrees of the same size. So the memory is that of a
    chunk and the logarithm of the run.
    """

    CHUNK, CHUNK_BYTES = 256, 2**25

    def __init__(self) -> None:
        self._folded: list[tuple[int, Row]] = []  # (level, subtree of 2^level chunks)
        self._waiting: list[Row] = []  # stacks of rows
        self._num_waiting, self._chunk = 0, 0

    def append(self, rows: Row) -> None:
        """Add rows stacked along the first axis."""
        rows = _map(lambda leaf: np.asarray(leaf, np.float64), rows)
        self._chunk = self._chunk or self._rows_in(self.CHUNK_BYTES, rows)
        while len(rows.moments.count):
            room = self._chunk - self._num_waiting
            self._waiting.append(_map(lambda leaf, room=room: leaf[:room], rows))
            self._num_waiting += len(self._waiting[-1].moments.count)
            rows = _map(lambda leaf, room=room: leaf[room:], rows)
            if self._num_waiting == self._chunk:
                self._fold(merge_stacks(self._waiting))
                self._waiting, self._num_waiting = [], 0

    def _rows_in(self, num_bytes: int, rows: Row) -> int:
        """A power of two, settled by the first row, which has a tail if any has."""
        row = sum(leaf[0].nbytes for leaf in jax.tree.leaves(rows))
        return min(self.CHUNK, 2 ** max(0, (num_bytes // row).bit_length() - 1))

    def _fold(self, row: Row) -> None:
        level = 0
        while self._folded and self._folded[-1][0] == level:
            row = _pair(self._folded.pop()[1], row)
            level += 1
        self._folded.append((level, row))

    def merged(self) -> Row:
        """The row of everything so far."""
        parts = [row for _, row in self._folded] + ([merge_stacks(self._waiting)] if self._waiting else [])
        # An odd one waits for what is to its left, as in `merge_all`.
        row = parts.pop()
        while parts:
            row = _pair(parts.pop(), row)
        return row


def _pair(a: Row, b: Row) -> Row:
    return merge_stacks([_map(lambda leaf: leaf[None], row) for row in (a, b)])


def stack(rows: list[Row]) -> Row:
    """Rows along a new first axis; shorter tails are padded."""
    length = max(row.stats.log_tail.shape[-1] for row in rows)
    return _map(lambda *leaves: np.stack(leaves), *(_padded(row, length) for row in rows))


def _padded(row: Row, length: int) -> Row:
    tail = np.asarray(row.stats.log_tail)
    width = [(0, 0)] * (tail.ndim - 1) + [(0, length - tail.shape[-1])]
    return _with_tail(row, np.pad(tail, width, constant_values=-np.inf))
