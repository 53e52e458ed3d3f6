"""Control variates: what is known besides. Functions whose mean is known take their share of the variance away.

With controls c of mean 0 the estimate is mean(w f) - beta mean(c), beta = Cov(c)^-1 Cov(c, w f). The coefficients come
from a pilot of independent samples, never from the units they correct: that would bias small runs and make intervals
too short (48 % coverage with 4 controls on 16 scrambles). With correlation r the variance falls to 1 - r^2.

Source: Owen, Monte Carlo theory, methods and examples, chapters 8.9 and 9.10; Owen and Zhou (2000) for components.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine import numerics, weights
from mcengine.mis import mixture_log_density
from mcengine.moments import AnyArray, Row

MAX_CONTROLS = 16
# Of the correlation matrix's unit diagonal: controls that are nearly combinations of others must not blow up.
RIDGE = 1e-5


class Columns(NamedTuple):
    """The controls of a block: c = exp(log_w) values, per control; `log_w` None where it is 0."""

    log_w: Float[Array, "j n"] | None
    values: Float[Array, "j n"]


class Coefficients(eqx.Module):
    """beta [J, K] for outputs in units of 2^exponent_f and controls in units of 2^exponent_c."""

    beta: Float[AnyArray, "*rows j k"]
    exponent_f: Float[AnyArray, "*rows k"]
    exponent_c: Float[AnyArray, "*rows j"]


class Controls(eqx.Module):
    """Functions h of the sample with known means E_p[h(X)] under the target: c = w (h(x) - means).

    **Arguments:** `function` h, from one sample to an array or a pytree of arrays; `means`, of the same structure;
    `pilot`, samples that find the coefficients, besides the budget (by default an eighth of it, and not fewer than 64
    for each control where the budget is that large).

    **Raises:** `ValueError` for means of another structure, or more than 16 controls.
    """

    function: Callable[[Any], Any]
    means: Any = eqx.field(converter=lambda tree: jax.tree.map(lambda m: jnp.asarray(m, float), tree))
    pilot: int | None = eqx.field(static=True, default=None)

    @property
    def needs_terms(self) -> bool:
        return False

    def number(self, event: Any, proposal: Any) -> int:
        """How many controls there are."""
        found = jax.eval_shape(self.function, event)
        shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (found, jax.eval_shape(lambda: self.means))]
        if shapes[0] != shapes[1]:
            raise ValueError(f"Controls: the function returns shapes {shapes[0]}, the means have {shapes[1]}.")
        return _checked(sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(found)))

    def columns(self, x: Any, log_w: Array | None, log_terms: Array | None, mixture: Any) -> Columns:
        """The controls of samples x, along the last axis."""
        h = numerics.over_samples(self.function)(x)
        centred = jax.tree.map(lambda v, m: v - m.astype(v.dtype)[..., None], h, self.means)
        values = jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(centred)])
        if log_w is not None and log_w.ndim > 1:
            raise ValueError("Controls: the problem weighs each output by itself, so no weight is the controls' own.")
        return Columns(None if log_w is None else jnp.broadcast_to(log_w, values.shape), values)


class Components(eqx.Module):
    """The components of a mixture proposal as controls: q_k(x) / q_mix(x) - 1 has mean 0 under the mixture.

    What `mis.Optimal` asks for. One component is left out, since their weighted sum is 0.
    """

    pilot: int | None = eqx.field(static=True, default=None)

    @property
    def needs_terms(self) -> bool:
        return True

    def number(self, event: Any, proposal: Any) -> int:
        """How many controls there are."""
        mixture = getattr(proposal, "mixture", proposal)
        if not hasattr(mixture, "components"):
            raise TypeError("Components: the proposal is no mixture, and so has no components.")
        return _checked(len(mixture.components) - 1)

    def columns(self, x: Any, log_w: Array | None, log_terms: Array | None, mixture: Any) -> Columns:
        """The controls of samples x, along the last axis."""
        assert log_terms is not None
        # log(alpha_k q_k) to log q_k; the mixture's own density is what the balance heuristic divides by.
        log_alpha = jnp.log(jnp.maximum(mixture.weights, jnp.finfo(mixture.weights.dtype).tiny))
        log_mixture = mixture_log_density(log_terms)
        ratios = weights.log_ratio(
            log_terms[:-1] - log_alpha[:-1, None], jnp.broadcast_to(log_mixture, log_terms[:-1].shape)
        )
        return Columns(None, weights.from_log(ratios) - 1.0)


def coefficients(row: Row, num_outputs: int, xp: Any) -> Coefficients:
    """The regression of the outputs on the controls, which are the last columns of a pilot's row."""
    m = row.moments
    with_outputs, among = m.cross[..., :num_outputs, :], m.cross[..., num_outputs:, :]
    # About the mean that is known, not the pilot's: where a control is large rarely, a pilot that met none of that sees
    # it hardly vary and far from its mean. Otherwise this adds one part in n.
    off = m.count[..., None] * m.mean[..., num_outputs:] ** 2
    among = among + off[..., :, None] * xp.eye(off.shape[-1], dtype=among.dtype)
    spread = xp.sqrt(xp.maximum(m.m2[..., num_outputs:], 0.0) + off)
    safe = xp.where(spread > 0, spread, 1.0)
    correlation = among / (safe[..., :, None] * safe[..., None, :])
    identity = xp.eye(correlation.shape[-1], dtype=correlation.dtype)
    # A control that was seen to be constant gets the coefficient 0.
    matrix = xp.where(spread[..., :, None] > 0, correlation, identity) + RIDGE * identity
    right = xp.where(spread[..., :, None] > 0, xp.swapaxes(with_outputs, -1, -2) / safe[..., :, None], 0.0)
    beta = _solve(matrix, right, xp) / safe[..., :, None]
    return Coefficients(beta, m.exponent[..., :num_outputs], m.exponent[..., num_outputs:])


def _solve(matrix: Any, right: Any, xp: Any) -> Any:
    """Gauss and Jordan for a small positive definite matrix: LAPACK calls under `vmap` can hang XLA on CPU."""
    rows = xp.concatenate([matrix, right], axis=-1)
    for i in range(matrix.shape[-1]):
        pivot = rows[..., i : i + 1, :] / rows[..., i : i + 1, i : i + 1]
        others = rows - rows[..., :, i : i + 1] * pivot
        rows = xp.concatenate([others[..., :i, :], pivot, others[..., i + 1 :, :]], axis=-2)
    return rows[..., matrix.shape[-1] :]


def _checked(number: int) -> int:
    if not 1 <= number <= MAX_CONTROLS:
        raise ValueError(f"Controls: there must be 1 to {MAX_CONTROLS} controls, got {number}.")
    return number
