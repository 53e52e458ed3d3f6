"""Estimates in words: a line for each of a few numbers, and one for each large array."""

import math

import jax
import numpy as np
from jaxtyping import Float, Integer

from mcengine.inference.result import Result
from mcengine.inference.status import Status
from mcengine.numerics.arrays import AnyScalar, NumberTree

# How many numbers of one array, and how many entries of a value, have a line each.
MAX_NUMBERS, MAX_ENTRIES = 12, 16


def value_lines(result: Result, status_codes: NumberTree) -> list[str]:
    """The values of a result, with errors, 95 % intervals and statuses; `status_codes`, one for each number."""
    low, high = result.interval()
    columns = zip(*map(jax.tree.leaves, (result.std_error, low, high, status_codes)), strict=True)
    entries = jax.tree_util.tree_flatten_with_path(result.value)[0]
    if len(entries) == 1 and np.ndim(entries[0][1]) == 0:
        return [_number(entries[0][1], *next(columns)[:3])]
    lines = []
    for (path, value), (error, lower, upper, codes) in zip(entries[:MAX_ENTRIES], columns, strict=False):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if np.size(value) > MAX_NUMBERS:
            lines.append(_large_array(name, np.asarray(value), np.asarray(error), np.asarray(codes)))
            continue
        for index in np.ndindex(np.shape(value)):
            place = f"[{', '.join(map(str, index))}]" if index else ""
            words = _number(*(np.asarray(column)[index] for column in (value, error, lower, upper)))
            lines.append(f"{name}{place}: {words}   {Status(int(np.asarray(codes)[index]))}")
    left = len(entries) - MAX_ENTRIES
    return lines + ([f"and {left:,} more"] if left > 0 else [])


def diagnostics_text(num_hits: NumberTree, ess: NumberTree, k_hat: NumberTree, largest_share: NumberTree) -> str:
    """Hits, ESS, k-hat and the largest share of a single number; the smallest ESS of several."""
    leaves = jax.tree.leaves(ess)
    if len(leaves) > 1 or np.ndim(leaves[0]):
        smallest = np.min([np.min(leaf, initial=np.inf) for leaf in leaves])
        return f"smallest ESS {smallest:,.0f}"
    hits, size, k, share = (float(jax.tree.leaves(tree)[0]) for tree in (num_hits, ess, k_hat, largest_share))
    k_text = "none" if math.isnan(k) else f"{k:.2f}"
    return f"hits {hits:,.0f}   ESS {size:,.0f}   k-hat {k_text}   largest share {share:.2g}"


def _number(value: AnyScalar, error: AnyScalar, low: AnyScalar, high: AnyScalar) -> str:
    spread = "" if np.isnan(error) else f" +- {float(error):.2g}"
    return f"{float(value):.8g}{spread}   95 % interval [{float(low):.6g}, {float(high):.6g}]"


def _large_array(
    name: str,
    value: Float[np.ndarray, "*shape"],
    error: Float[np.ndarray, "*shape"],
    codes: Integer[np.ndarray, "*shape"],
) -> str:
    """One line for all numbers of an array."""
    span = f"{float(np.min(value)):.6g} to {float(np.max(value)):.6g}"
    known = error[~np.isnan(error)]
    spread = f"   standard errors to {float(np.max(known)):.2g}" if known.size else ""
    name = f"{name}: " if name else ""
    return f"{name}{value.size:,} numbers of shape {value.shape}, {span}{spread}   {Status(int(np.max(codes)))}"
