"""An estimate in words: a line for each of a few numbers, one for each large array, and what to make of them all."""

import math
from typing import Any

import jax
import numpy as np

from mcengine.inference.status import Status

# Numbers of one array, and entries of a value, that have a line each.
MAX_NUMBERS, MAX_ENTRIES = 12, 16


def head_of(result: Any) -> str:
    """The values of an `Estimate`, with their errors, 95 % intervals and statuses."""
    low, high = result.interval()
    trees = (result.std_error, low, high, result.status_codes)
    others = zip(*map(jax.tree.leaves, trees), strict=True)
    entries = jax.tree_util.tree_flatten_with_path(result.value)[0]
    if len(entries) == 1 and np.ndim(entries[0][1]) == 0:
        return _number(entries[0][1], *next(others)[:3])
    blocks = [
        _entry(jax.tree_util.keystr(path, simple=True, separator="."), *map(np.asarray, (value, *columns)))
        for (path, value), columns in zip(entries[:MAX_ENTRIES], others, strict=False)
    ]
    left = len(entries) - MAX_ENTRIES
    return "\n".join([line for block in blocks for line in block] + ([f"and {left:,} more"] if left > 0 else []))


def detail_of(result: Any) -> str:
    """Hits, ESS, k-hat and the largest share of a single number; of several, the smallest ESS."""
    leaves = jax.tree.leaves(result.ess)
    if len(leaves) > 1 or np.ndim(leaves[0]):
        smallest = np.min([np.min(leaf, initial=np.inf) for leaf in leaves])
        return f"smallest ESS {smallest:,.0f}"
    trees = (result.num_hits, result.ess, result.pareto_k, result.max_weight_share)
    hits, ess, k, share = (float(jax.tree.leaves(tree)[0]) for tree in trees)
    k_text = "none" if math.isnan(k) else f"{k:.2f}"
    return f"hits {hits:,.0f}   ESS {ess:,.0f}   k-hat {k_text}   largest share {share:.2g}"


def _number(value: Any, error: Any, low: Any, high: Any) -> str:
    spread = "" if np.isnan(error) else f" +- {float(error):.2g}"
    return f"{float(value):.8g}{spread}   95 % interval [{float(low):.6g}, {float(high):.6g}]"


def _entry(name: str, value: Any, error: Any, low: Any, high: Any, codes: Any) -> list[str]:
    """The lines of one array of the value."""
    if value.size > MAX_NUMBERS:
        spans = " to ".join(f"{float(end):.6g}" for end in (np.min(value), np.max(value)))
        errors = error[~np.isnan(error)]
        spread = f"   standard errors to {float(np.max(errors)):.2g}" if errors.size else ""
        name = f"{name}: " if name else ""
        return [f"{name}{value.size:,} numbers of shape {value.shape}, {spans}{spread}   {Status(int(np.max(codes)))}"]
    lines = []
    for index in np.ndindex(value.shape):
        place = f"[{', '.join(map(str, index))}]" if index else ""
        words = _number(*(column[index] for column in (value, error, low, high)))
        lines.append(f"{name}{place}: {words}   {Status(int(codes[index]))}")
    return lines
