"""Whether the known means of controls agree with a pilot run."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool

from mcengine import numerics
from mcengine.controls.controls import Controls
from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import finite
from mcengine.summaries.summary import Summary

# A mean in the pilot further from 0 than this many standard errors is wrong: chance does it once in 10^15 runs. With
# fewer than 64 units the standard error itself is too uncertain.
FAR, LEAST_UNITS = 8.0, 64
# How far rounding may move a control's mean, relative to its standard deviation and to the mean subtracted from it.
ROUNDING_OF_SPREAD, ROUNDING_OF_MEAN = 1e-4, 1e-5


def check_means(controls: eqx.Module | None, summary: Summary, num_outputs: int) -> None:
    """Raise where a pilot's row says that the mean of a control is not what it was given as (see `wrong_means`)."""
    told = _control_means(controls, summary, num_outputs)
    if told is None or not (wrong := wrong_means(controls, summary, num_outputs)).any():
        return
    given, mean, error, _ = told
    first = np.argmax(wrong)
    raise ValueError(
        f"Controls: control {first} (of {len(wrong)}) has the mean {given[first]:.6g} taken from it, and what is "
        f"left has mean {mean[first]:.3g} +- {error[first]:.2g} in the pilot, where it should be 0. Mend the mean, "
        "which is under the target; or the proposal, which must reach all of the target for a control; or leave "
        "this control out, if its tails are so heavy that the pilot misses them."
    )


def wrong_means(controls: eqx.Module | None, summary: Summary, num_outputs: int) -> Bool[AnyArray, "*batch j"]:
    """Which controls a pilot's row says to have another mean than was given, [..., A].

    A control that was seen to be constant is passed over: it may hit once in a million samples, and its coefficient is
    0 in any case. What is not finite is counted, and said so in the status.
    """
    xp = namespace(summary.moments.mean)
    told = _control_means(controls, summary, num_outputs)
    if told is None:
        return xp.zeros(summary.moments.mean[..., num_outputs:].shape, dtype=bool)
    given, mean, error, deviation = told
    allowed = FAR * error + ROUNDING_OF_SPREAD * deviation + ROUNDING_OF_MEAN * xp.abs(given)
    tellable = (summary.moments.count >= LEAST_UNITS) & (summary.stats.num_nonfinite == 0)
    return tellable[..., None] & (deviation > 0) & (xp.abs(mean) > allowed)


def _control_means(
    controls: eqx.Module | None, summary: Summary, num_outputs: int
) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray] | None:
    """(means given, means of what is left, their standard errors, standard deviations); None without given means."""
    if not isinstance(controls, Controls):
        return None
    m = summary.moments
    xp = namespace(m.mean)
    count = xp.asarray(m.count)[..., None]
    scale = numerics.two_to(xp.clip(finite(m.exponent[..., num_outputs:]), -1000.0, 1000.0))
    deviation = scale * xp.sqrt(xp.maximum(m.m2[..., num_outputs:], 0.0) / xp.maximum(count - 1.0, 1.0))
    given = xp.concatenate([xp.ravel(xp.asarray(leaf)) for leaf in jax.tree.leaves(controls.means)])
    return given, scale * m.mean[..., num_outputs:], deviation / xp.sqrt(xp.maximum(count, 1.0)), deviation
