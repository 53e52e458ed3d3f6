"""Quantiles and expected shortfall of weighted losses, with error bars and a status."""

import time
from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Integer

from mcengine.inference.from_arrays import estimate_of_arrays
from mcengine.inference.intervals import student_interval
from mcengine.inference.residuals import sample_residuals
from mcengine.inference.result import Result
from mcengine.inference.status import MIN_HITS, MIN_UNITS, Status
from mcengine.inference.unit_checks import MAX_TIED
from mcengine.numerics.arrays import Numbers, NumberTree
from mcengine.weights.weighting import Raw, Weighting

Kept = TypeVar("Kept", bound=eqx.Module)
Levels = dict[str, Float[np.ndarray, "*batch levels"]]


class RiskEstimate(Result):
    """Quantiles and expected shortfalls of a loss, with error bars and diagnostics.

    - `value` and `std_error`: dicts with `quantile` and `shortfall`, [levels]. An error is NaN with one unit, with
      units that are equal by chance, and for the shortfall with no loss above the quantile and fewer than 30 at it.
    - `interval(level)`: dicts like `value`; Woodruff's for the quantile, Student-t over units for the shortfall. A
      quantile's side is infinite where the samples do not reach it; both are where the error is NaN.
    - `ess`, `pareto_k`, `max_weight_share`, `num_hits`: of the losses beyond each quantile, the worse of the two
      figures.
    - `status_codes`, `status`, `ok`, `num_samples`, `num_units`, `seconds` as in `mc.Estimate`.
    """

    levels: tuple[float, ...] = eqx.field(static=True)
    value: Levels
    std_error: Levels
    ess: Float[np.ndarray, "*batch levels"]
    pareto_k: Float[np.ndarray, "*batch levels"]
    max_weight_share: Float[np.ndarray, "*batch levels"]
    num_hits: Float[np.ndarray, "*batch levels"]
    num_samples: Numbers
    num_units: Numbers
    num_nonfinite: Numbers
    status_codes: Integer[np.ndarray, "*batch levels"]
    seconds: float | None
    losses: Float[np.ndarray, "*batch n"]
    exceedance: Float[np.ndarray, "*batch n"]

    @property
    def _num_batch_axes(self) -> int:
        return self.losses.ndim - 1

    def _interval(self, level: float) -> tuple[Levels, Levels]:
        if self._num_batch_axes:
            sides = [_of_replicate(self, i).interval(level) for i in range(len(self.losses))]
            low, high = (jax.tree.map(lambda *leaves: np.stack(leaves), *side) for side in zip(*sides, strict=True))
            return low, high
        low, high = student_interval(self.value["shortfall"], self.std_error["shortfall"], self.num_units, level)
        known = ~np.isnan(self.std_error["shortfall"])
        low, high = np.where(known, low, -np.inf), np.where(known, high, np.inf)
        beyond = 1.0 - np.asarray(self.levels)
        p_low, p_high = student_interval(beyond, self.std_error["exceedance"], self.num_units, level)
        known = ~np.isnan(self.std_error["exceedance"])
        quantiles = [
            np.where(known, [self._quantile(p) for p in side], end)
            for side, end in ((p_high, -np.inf), (p_low, np.inf))
        ]
        return {"quantile": quantiles[0], "shortfall": low}, {"quantile": quantiles[1], "shortfall": high}

    def _quantile(self, beyond: float) -> float:
        if np.isnan(beyond):
            return np.nan
        return np.inf if beyond <= 0 else quantile(self.losses, self.exceedance, beyond)

    def _entries(self) -> dict[str, NumberTree | list]:
        low, high = self.interval()
        columns = {f"{name}_{what}": tree[name] for what, tree in (("low", low), ("high", high)) for name in low}
        columns |= {**self.value, **{f"{name}_std_error": error for name, error in self.std_error.items()}}
        columns |= {name: getattr(self, name) for name in ("ess", "pareto_k", "max_weight_share", "num_hits")}
        counts = {name: int(getattr(self, name)) for name in ("num_samples", "num_units", "num_nonfinite")}
        return {"levels": list(self.levels), **columns, **counts}

    def _lines(self) -> list[str]:
        low, high = self.interval()
        lines = [
            f"{a:.6g}: " + "   ".join(
                f"{name} {self.value[name][i]:.6g} [{low[name][i]:.6g}, {high[name][i]:.6g}]" for name in low
            ) + f"   hits {self.num_hits[i]:,.0f}   ESS {self.ess[i]:,.0f}"
            for i, a in enumerate(self.levels)
        ]  # fmt: skip
        return [*lines, f"{self.num_samples:,} samples"]


def risk_of_arrays(
    log_w: Float[np.ndarray, " n"] | None,
    losses: Float[np.ndarray, " n"],
    levels: tuple[float, ...],
    weighting: Weighting = Raw(),
    *,
    unit_size: int = 1,
) -> RiskEstimate:
    """Quantiles and expected shortfalls of weighted losses, with error bars and diagnostics.

    **Arguments:** `log_w`, log-weights [n], None where all are 0; `losses` [n]; `levels` between 0 and 1; `weighting`,
    raw or self-normalised; `unit_size`, how many consecutive samples are one unit.
    """
    start = time.perf_counter()
    usable = np.isfinite(losses) if log_w is None else np.isfinite(losses) & ~np.isnan(log_w) & (log_w < np.inf)
    if not usable.all():  # left out, with a status
        log_w = np.where(usable, 0.0 if log_w is None else log_w, -np.inf)
        losses = np.where(usable, losses, np.min(losses[usable], initial=0.0))
    values, errors, ordered, exceedance = tail_risk(
        log_w, losses, levels, unit_size=unit_size, self_normalised=weighting.self_normalised
    )
    found = np.isfinite(values["quantile"])
    v = np.where(found, values["quantile"], np.inf)
    excess = np.where(found, np.maximum(losses[:, None] - np.where(found, v, 0.0), 0.0), 0.0)
    tail = estimate_of_arrays(log_w, (losses[:, None] >= v) * 1.0, weighting)
    beyond = estimate_of_arrays(log_w, excess, weighting)
    # An atom at the quantile may leave nothing beyond it.
    both = np.asarray(beyond.num_hits) > 0
    # An indicator that is 1 for all samples, as below an atom, has no rounding errors.
    codes = np.where(tail.status_codes == Status.ROUNDING, Status.OK, tail.status_codes)
    codes = np.where(both, np.maximum(codes, beyond.status_codes), codes)
    num_units = len(losses) // unit_size
    unknown = num_units < MIN_UNITS or np.isnan(errors["exceedance"])
    codes = np.where(unknown, np.maximum(codes, Status.FEW_UNITS), codes)
    return RiskEstimate(
        levels=levels,
        value=values,
        std_error=errors,
        ess=np.where(both, np.minimum(tail.ess, beyond.ess), tail.ess),
        pareto_k=np.fmax(tail.pareto_k, beyond.pareto_k),
        max_weight_share=np.maximum(tail.max_weight_share, beyond.max_weight_share),
        num_hits=np.asarray(tail.num_hits),
        num_samples=len(losses),
        num_units=num_units,
        num_nonfinite=int(np.sum(~usable)),
        status_codes=codes if usable.all() else np.full(len(codes), Status.NON_FINITE),
        seconds=time.perf_counter() - start,
        losses=ordered,
        exceedance=exceedance,
    )


def stack_results(results: Sequence[Kept]) -> Kept:
    """Estimates from independent runs in one, with a leading axis; `seconds` is the sum of theirs."""
    bare = [eqx.tree_at(lambda r: r.seconds, result, 0.0) for result in results]
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *bare)
    return eqx.tree_at(lambda r: r.seconds, stacked, sum(result.seconds or 0.0 for result in results))


def _of_replicate(results: RiskEstimate, i: int) -> RiskEstimate:
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[i], eqx.tree_at(lambda r: r.seconds, results, results.num_units))
    return eqx.tree_at(lambda r: r.seconds, one, None)


def quantile(losses: Float[np.ndarray, " n"], exceedance: Float[np.ndarray, " n"], beyond: float) -> float:
    """inf {t : P(L > t) <= beyond} from losses in descending order and P(L >= losses_i); -inf where all are rarer."""
    # 1 - 0.9 is a little less than a tenth.
    i = np.searchsorted(exceedance, beyond * (1.0 + 1e-9), side="right")
    return float(losses[i]) if i < len(losses) else -np.inf


def tail_risk(
    log_w: Float[np.ndarray, " n"] | None,
    losses: Float[np.ndarray, " n"],
    levels: tuple[float, ...],
    *,
    unit_size: int,
    self_normalised: bool,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(values, standard errors, losses in descending order, P(L >= losses_i)) of finite weighted losses, all [n]."""
    n = len(losses)
    w = np.ones(n) if log_w is None else np.exp(log_w)
    w = w / w.mean() if self_normalised else w
    order = np.argsort(-losses, kind="stable")
    ordered, exceedance = losses[order], np.cumsum(w[order]) / n
    # Ties count together: P(L >= t) is that of the last of them.
    last = np.searchsorted(-ordered, -ordered, side="right") - 1
    exceedance = exceedance[last]
    values, errors = {"quantile": [], "shortfall": []}, {"quantile": [], "shortfall": [], "exceedance": []}
    for level in levels:
        beyond = 1.0 - level
        v = quantile(ordered, exceedance, beyond)
        excess = w * np.maximum(losses - v, 0.0) / beyond if np.isfinite(v) else np.full(n, np.nan)
        # The losses above v; and those of at least v, for where v is the largest one.
        tails = [w * (losses > v), w * (losses >= v)]
        values["quantile"].append(v)
        values["shortfall"].append(v + excess.mean())
        if self_normalised:
            excess, *tails = (sample_residuals(y, w) for y in (excess, *tails))
        step = max(_unit_error(tail, unit_size) for tail in tails)
        if step == 0.0 and unit_size > 1 and n // unit_size < MAX_TIED:
            step = np.nan  # units that are equal by chance
        errors["exceedance"].append(step)
        # At a level beyond the sample there is no loss above the largest, and no atom there: the error is unknown.
        beyond_sample = np.max(losses) <= v and np.sum(losses >= v) < MIN_HITS
        errors["shortfall"].append(np.nan if beyond_sample else _unit_error(excess, unit_size))
        # An error of P(L > v) moves the quantile by this much.
        errors["quantile"].append(_shift(ordered, exceedance, beyond, step or 1.0 / n))
    as_arrays = [{name: np.asarray(column) for name, column in tree.items()} for tree in (values, errors)]
    return as_arrays[0], as_arrays[1], ordered, exceedance


def _shift(losses: Float[np.ndarray, " n"], exceedance: Float[np.ndarray, " n"], beyond: float, step: float) -> float:
    """Half of the shift of the quantile from `step` above to `step` below; NaN where the step is unknown."""
    if np.isnan(step):
        return np.nan
    sides = [quantile(losses, exceedance, max(beyond + sign * step, 0.0)) for sign in (1, -1)]
    return 0.5 * (sides[1] - sides[0])


def _unit_error(y: Float[np.ndarray, " n"], unit_size: int) -> float:
    units = y[: len(y) - len(y) % unit_size].reshape(-1, unit_size).mean(axis=1)
    return float(units.std(ddof=1) / np.sqrt(len(units))) if len(units) > 1 else np.nan
