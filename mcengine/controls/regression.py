"""Coefficients of control variates: the regression of the outputs on the controls in a pilot run."""

from jaxtyping import Float

from mcengine.numerics.arrays import AnyArray, namespace
from mcengine.summaries.columns import Coefficients
from mcengine.summaries.summary import Summary

# Of the correlation matrix's unit diagonal: controls that are nearly combinations of others must not blow up.
RIDGE = 1e-5
# The coefficients of J controls from n units vary by 1 / (n - J - 2) of what the controls leave: finite from J + 3 on.
UNITS_BESIDES = 3
# Squared standard errors between a control's mean in the pilot and 0 that chance explains.
BY_CHANCE = 9.0


def regression_coefficients(summary: Summary, num_outputs: int) -> Coefficients:
    """The regression of the outputs on the controls, which are the last columns of a pilot's summary."""
    m = summary.moments
    xp = namespace(m.cross)
    with_outputs, among = m.cross[..., :num_outputs, :], m.cross[..., num_outputs:, :]
    squares, count = xp.maximum(m.m2[..., num_outputs:], 0.0), m.count[..., None]
    # About the mean that is known where the pilot's is further off than chance: of a control that is large rarely, a
    # pilot that met none of that sees it hardly vary, and far from its mean.
    off = count * m.mean[..., num_outputs:] ** 2
    off = xp.maximum(off - BY_CHANCE * squares / xp.maximum(count - 1.0, 1.0), 0.0)
    among = among + off[..., :, None] * xp.eye(off.shape[-1], dtype=among.dtype)
    spread = xp.sqrt(squares + off)
    safe = xp.where(spread > 0, spread, 1.0)
    correlation = among / (safe[..., :, None] * safe[..., None, :])
    identity = xp.eye(correlation.shape[-1], dtype=correlation.dtype)
    # A control that was seen to be constant gets the coefficient 0.
    matrix = xp.where(spread[..., :, None] > 0, correlation, identity) + RIDGE * identity
    right = xp.where(spread[..., :, None] > 0, xp.swapaxes(with_outputs, -1, -2) / safe[..., :, None], 0.0)
    beta = _solve(matrix, right) / safe[..., :, None]
    taken = xp.sum(beta * m.mean[..., num_outputs:, None], axis=-2)
    return Coefficients(
        beta, m.mean[..., :num_outputs] - taken, m.exponent[..., :num_outputs], m.exponent[..., num_outputs:]
    )


def _solve(
    matrix: Float[AnyArray, "*batch j j"], right: Float[AnyArray, "*batch j k"]
) -> Float[AnyArray, "*batch j k"]:
    """Gauss and Jordan for a small positive definite matrix: LAPACK calls under `vmap` can hang XLA on CPU."""
    xp = namespace(matrix)
    rows = xp.concatenate([matrix, right], axis=-1)
    for i in range(matrix.shape[-1]):
        pivot = rows[..., i : i + 1, :] / rows[..., i : i + 1, i : i + 1]
        others = rows - rows[..., :, i : i + 1] * pivot
        rows = xp.concatenate([others[..., :i, :], pivot, others[..., i + 1 :, :]], axis=-2)
    return rows[..., matrix.shape[-1] :]
