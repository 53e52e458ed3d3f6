"""Control variates: what is known besides. Functions whose mean is known take their share of the variance away.

With controls c of mean 0 the estimate is mean(w f) - beta mean(c), beta = Cov(c)^-1 Cov(c, w f). The coefficients come
from a pilot of independent samples, never from the units they correct: that would bias small runs and make intervals
too short (48 % coverage with 4 controls on 16 scrambles). With correlation r the variance falls to 1 - r^2.

Source: Owen, Monte Carlo theory, methods and examples, chapters 8.9 and 9.10; Owen and Zhou (2000) for components.
"""

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import numerics, weights
from mcengine.columns import finite
from mcengine.distributions.univariate import concrete
from mcengine.moments import AnyArray, Row

MAX_CONTROLS = 16
# Of the correlation matrix's unit diagonal: controls that are nearly combinations of others must not blow up.
RIDGE = 1e-5
# The coefficients of J controls from n units vary by 1 / (n - J - 2) of what the controls leave: finite from J + 3 on.
UNITS_BESIDES = 3
# Squared standard errors between a control's mean in the pilot and 0 that chance explains.
BY_CHANCE = 9.0
# Standard errors between a control's mean in the pilot and 0, what chance does once in 10^15 runs; fewer units say too
# little of the error.
FAR, LEAST_TOLD = 8.0, 64
# What rounding may do to a control's mean, in parts of its standard deviation and of the mean taken from it.
ROUNDING_OF_SPREAD, ROUNDING_OF_MEAN = 1e-4, 1e-5


class Columns(NamedTuple):
    """The controls of a block: c = exp(log_w) values, per control; `log_w` None where it is 0."""

    log_w: Float[Array, "j n"] | None
    values: Float[Array, "j n"]


class Coefficients(eqx.Module):
    """beta [J, K] for outputs in units of 2^exponent_f and controls in units of 2^exponent_c.

    `centre`, in units of the outputs, is the mean of w f - beta c in the pilot.
    """

    beta: Float[AnyArray, "*rows j k"]
    centre: Float[AnyArray, "*rows k"]
    exponent_f: Float[AnyArray, "*rows k"]
    exponent_c: Float[AnyArray, "*rows j"]


def pilot_size(name: str) -> Callable[[Any], Any]:
    """A converter that refuses, in the name of the class, what is neither None nor a number of samples."""

    def convert(pilot: Any) -> Any:
        if pilot is None:
            return None
        if isinstance(pilot, bool) or not isinstance(pilot, Integral) or pilot < 1:
            raise ValueError(f"{name}: pilot must be a whole number of samples, at least 1, got {pilot!r}.")
        return int(pilot)

    return convert


class Controls(eqx.Module):
    """Functions h of the sample with known means E_p[h(X)] under the target: c = w (h(x) - means).

    **Arguments:** `function` h, from one sample to an array or a pytree of arrays; `means`, of the same structure (a
    list of numbers will do for an array); `pilot`, samples that find the coefficients, besides the budget (by default
    an eighth of it, and not fewer than 64 for each control where the budget is that large).

    A sample whose control is not finite is counted as non-finite.

    **Raises:** `ValueError` for means that are not finite or of another structure, for more than 16 controls, and for a
    pilot of fewer than J + 3 samples (units, where points come in units) for J controls, whose coefficients would vary
    without bound. Also where the pilot finds the mean of a control, h less its mean and weighed, more than 8 standard
    errors from 0: the mean is wrong, or the proposal does not reach all of the target, which f may not need and a
    control does. Inside a trace the value and its gradients are then NaN, with the status
    NON_FINITE; `replicate` looks at the pilots of all its runs together.
    """

    function: Callable[[Any], Any]
    means: Any = eqx.field(converter=lambda tree: jax.tree.map(lambda m: jnp.asarray(m, float), tree))
    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Controls"))

    def __check_init__(self):
        known = [concrete(leaf) for leaf in jax.tree.leaves(self.means)]
        if any(mean is not None and not np.all(np.isfinite(mean)) for mean in known):
            raise ValueError(f"Controls: the means must be finite, got {self.means}.")

    @property
    def needs_terms(self) -> bool:
        return False

    def number(self, event: Any, proposal: Any) -> int:
        """How many controls there are."""
        found = jax.eval_shape(self.function, event)
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (found, self._means_like(found))]
        if shapes[0] != shapes[1]:
            raise ValueError(f"Controls: the function returns shapes {shapes[0]}, the means have {shapes[1]}.")
        number = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(found))
        if not 1 <= number <= MAX_CONTROLS:
            raise ValueError(f"Controls: there must be 1 to {MAX_CONTROLS} controls, got {number}.")
        return number

    def columns(self, x: Any, log_w: Array | None, log_terms: Array | None, mixture: Any) -> Columns:
        """The controls of samples x, along the last axis."""
        dtype = numerics.float_dtype()
        h = numerics.over_samples(self.function)(x)
        # Whole numbers and truth values are controls too; their means are neither.
        centred = jax.tree.map(lambda v, m: v.astype(dtype) - m.astype(dtype)[..., None], h, self._means_like(h))
        values = jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(centred)])
        if log_w is not None and log_w.ndim > 1:
            raise ValueError("Controls: the problem weighs each output by itself, so no weight is the controls' own.")
        return Columns(None if log_w is None else jnp.broadcast_to(log_w, values.shape), values)

    def _means_like(self, found: Any) -> Any:
        """The means with an array wherever the function returns one; as they are where their structure is another."""
        try:
            return jax.tree.map(lambda _, means: _stacked(means), found, self.means)
        except ValueError:
            return self.means


class Components(eqx.Module):
    """The components of a mixture proposal as controls: q_k(x) / q_mix(x) - 1 has mean 0 under the mixture.

    What `mis.Optimal` asks for. One component is left out, since their weighted sum is 0.

    **Arguments:** `pilot`, as in `Controls`.

    **Raises:** `ValueError` for a mixture of fewer than 2 or more than 17 components; `TypeError` for no mixture.
    """

    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Components"))

    @property
    def needs_terms(self) -> bool:
        return True

    def number(self, event: Any, proposal: Any) -> int:
        """How many controls there are."""
        mixture = getattr(proposal, "mixture", proposal)
        if not hasattr(mixture, "components"):
            raise TypeError("Components: the proposal is no mixture, and so has no components.")
        number = len(mixture.components)
        if not 2 <= number <= MAX_CONTROLS + 1:
            raise ValueError(
                f"estimate: mis.Optimal and Components need a mixture of 2 to {MAX_CONTROLS + 1} components, and this "
                f"one has {number}."
            )
        return number - 1

    def columns(self, x: Any, log_w: Array | None, log_terms: Array | None, mixture: Any) -> Columns:
        """The controls of samples x, along the last axis."""
        assert log_terms is not None
        # log(alpha_k q_k) to log q_k; the mixture's own density is what the balance heuristic divides by.
        log_alpha = jnp.log(jnp.maximum(mixture.weights, jnp.finfo(mixture.weights.dtype).tiny))
        log_mixture = jax.nn.logsumexp(log_terms, axis=0)
        ratios = weights.log_ratio(
            log_terms[:-1] - log_alpha[:-1, None], jnp.broadcast_to(log_mixture, log_terms[:-1].shape)
        )
        return Columns(None, weights.from_log(ratios) - 1.0)


def coefficients(row: Row, num_outputs: int, xp: Any) -> Coefficients:
    """The regression of the outputs on the controls, which are the last columns of a pilot's row."""
    m = row.moments
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
    beta = _solve(matrix, right, xp) / safe[..., :, None]
    taken = xp.sum(beta * m.mean[..., num_outputs:, None], axis=-2)
    return Coefficients(
        beta, m.mean[..., :num_outputs] - taken, m.exponent[..., :num_outputs], m.exponent[..., num_outputs:]
    )


def _solve(matrix: Any, right: Any, xp: Any) -> Any:
    """Gauss and Jordan for a small positive definite matrix: LAPACK calls under `vmap` can hang XLA on CPU."""
    rows = xp.concatenate([matrix, right], axis=-1)
    for i in range(matrix.shape[-1]):
        pivot = rows[..., i : i + 1, :] / rows[..., i : i + 1, i : i + 1]
        others = rows - rows[..., :, i : i + 1] * pivot
        rows = xp.concatenate([others[..., :i, :], pivot, others[..., i + 1 :, :]], axis=-2)
    return rows[..., matrix.shape[-1] :]


def check_means(controls: Any, row: Row, num_outputs: int) -> None:
    """Raise where a pilot's row says that the mean of a control is not what it was given as (see `wrong_means`)."""
    told = _told(controls, row, num_outputs, np)
    if told is None or not (wrong := wrong_means(controls, row, num_outputs, np)).any():
        return
    given, mean, error, _ = told
    first = np.argmax(wrong)
    raise ValueError(
        f"Controls: control {first} (of {len(wrong)}) has the mean {given[first]:.6g} taken from it, and what is "
        f"left has mean {mean[first]:.3g} +- {error[first]:.2g} in the pilot, where it should be 0. Mend the mean, "
        "which is under the target; or the proposal, which must reach all of the target for a control; or leave "
        "this control out, if its tails are so heavy that the pilot misses them."
    )


def wrong_means(controls: Any, row: Row, num_outputs: int, xp: Any) -> Any:
    """Which controls a pilot's row says to have another mean than was given, [..., A].

    A control that was seen to be constant is passed over: it may hit once in a million samples, and its coefficient is
    0 in any case. What is not finite is counted, and said so in the status.
    """
    told = _told(controls, row, num_outputs, xp)
    if told is None:
        return xp.zeros(row.moments.mean[..., num_outputs:].shape, dtype=bool)
    given, mean, error, deviation = told
    allowed = FAR * error + ROUNDING_OF_SPREAD * deviation + ROUNDING_OF_MEAN * xp.abs(given)
    tellable = (row.moments.count >= LEAST_TOLD) & (row.stats.num_nonfinite == 0)
    return tellable[..., None] & (deviation > 0) & (xp.abs(mean) > allowed)


def _told(controls: Any, row: Row, num_outputs: int, xp: Any) -> Any:
    """(means given, means of what is left, their standard errors, standard deviations); None without given means."""
    if not isinstance(controls, Controls):
        return None
    m = row.moments
    count = xp.asarray(m.count)[..., None]
    scale = numerics.two_to(xp.clip(finite(m.exponent[..., num_outputs:], xp), -1000.0, 1000.0), xp)
    deviation = scale * xp.sqrt(xp.maximum(m.m2[..., num_outputs:], 0.0) / xp.maximum(count - 1.0, 1.0))
    given = xp.concatenate([xp.ravel(xp.asarray(leaf)) for leaf in jax.tree.leaves(controls.means)])
    return given, scale * m.mean[..., num_outputs:], deviation / xp.sqrt(xp.maximum(count, 1.0)), deviation


def _stacked(means: Any) -> Any:
    """An array from a list of numbers, or of lists of them."""
    return jnp.stack([_stacked(mean) for mean in means]) if isinstance(means, list | tuple) and means else means
