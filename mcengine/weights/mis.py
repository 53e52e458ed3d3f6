"""Multiple importance sampling: how samples of several proposals q_i, with shares alpha_i, divide the work.

A sample x of proposal i counts h_i(x) p(x) f(x) / (alpha_i q_i(x)), with weights h that sum to 1 at every x: unbiased
for any such h, since sum_i int h_i f p = int f p. One-sample and multi-sample estimators, a mixture in finance, a lamp
and a BSDF, several behaviour policies: all are this, and all go through `log_density`.

Source: E. Veach and L. Guibas, Optimally combining sampling techniques (SIGGRAPH 1995); Veach's thesis, chapter 9.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcengine import numerics, weights
from mcengine.numerics import log_space
from mcengine.numerics.values import as_parameter, concrete, pilot_size

# Of a factor in float32: what is larger multiplies what is as good as 0.
LARGEST_LOG = 80.0


@runtime_checkable
class Heuristic(Protocol):
    """`log_weights` gives log h_i(x) for every proposal from log(alpha_i q_i(x)), along the first axis."""

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]: ...


class Balance(eqx.Module):
    """h_i = c_i / sum_k c_k, c_i = alpha_i q_i: the mixture's density. Within a factor of the best of all (Veach)."""

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return _normalised(log_c)


class Power(eqx.Module):
    """h_i = c_i^beta / sum_k c_k^beta: sharper than `Balance`, good where one proposal fits nearly perfectly.

    **Arguments:** `beta` >= 1, by default 2.
    """

    beta: Float[Array, ""] = eqx.field(converter=as_parameter, default=2.0)

    def __check_init__(self):
        known = concrete(self.beta)
        if self.beta.shape != () or (known is not None and not 1 <= known < np.inf):
            raise ValueError(
                f"Power: beta must be at least 1, finite (mis.Maximum is the limit) and one number, got {self.beta}."
            )

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return _normalised(self.beta.astype(log_c.dtype) * log_c)


def _is_large(log_c: Float[Array, "k *shape"], log_alpha: Float[Array, ""]) -> Bool[Array, "k *shape"]:
    """Whether c_i >= alpha max_k c_k."""
    return log_c >= jnp.max(log_c, axis=0)[None] + log_alpha


_counts = numerics.refuse_derivative(
    _is_large,
    "The weights of mis.Cutoff and mis.Maximum jump where a proposal falls below the cutoff, and a gradient along the "
    "proposals' parameters would silently miss the jumps. Use mis.Balance() or mis.Power(), or "
    "jax.lax.stop_gradient(proposal) where only problem parameters are meant.",
)


class Cutoff(eqx.Module):
    """`Balance` among the proposals with c_i >= alpha max_k c_k; the others count nothing.

    **Arguments:** `alpha`, between 0 (the balance heuristic) and 1 (the maximum heuristic), by default 0.1.

    Differentiating along the proposals' parameters raises: the weights jump.
    """

    alpha: Float[Array, ""] = eqx.field(converter=as_parameter, default=0.1)

    def __check_init__(self):
        known = concrete(self.alpha)
        if self.alpha.shape != () or (known is not None and not 0 <= known <= 1):
            raise ValueError(f"Cutoff: alpha must lie between 0 and 1, and be one number, got {self.alpha}.")

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        alpha = self.alpha.astype(log_c.dtype)
        log_alpha = jnp.where(alpha > 0, jnp.log(jnp.where(alpha > 0, alpha, 1.0)), -jnp.inf)
        return _normalised(jnp.where(_counts(log_c, log_alpha), log_c, -jnp.inf))


class Maximum(eqx.Module):
    """h_i = 1 for the proposal with the largest c_i (shared where several tie), else 0.

    Differentiating along the proposals' parameters raises: the weights jump.
    """

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return Cutoff(1.0).log_weights(log_c)


class Optimal(eqx.Module):
    """The balance heuristic with the components as controls: the least variance of all weights h, whatever their sign.

    The optimal weights of Kondapaneni et al. (SIGGRAPH 2019) are Owen and Zhou's (2000) control variates q_k / q_mix -
    1 with mean 0. Their coefficients come from a pilot of independent samples, so the estimate stays unbiased.

    **Arguments:** `pilot`, its sample count; by default an eighth of the budget's, besides the budget.

    Its mixture must have 2 to 17 components.
    """

    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Optimal"))

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return Balance().log_weights(log_c)


def log_density(
    heuristic: Heuristic, log_c: Float[Array, "k *shape"], chosen: Int[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(alpha_i q_i(x) / h_i(x)) for the proposal i that drew x: what takes the place of log q in its weight.

    It is the mixture's log density for `Balance`, and +inf (weight 0) where h_i = 0.
    """
    log_h = heuristic.log_weights(log_c)
    mine = jnp.take_along_axis(jnp.stack([log_c, log_h]), chosen[None, None], axis=1)[:, 0]
    return jnp.where(mine[1] > -jnp.inf, mine[0] - jnp.where(mine[1] > -jnp.inf, mine[1], 0.0), jnp.inf)


def expected_contributions(
    heuristic: Heuristic, log_c: Float[Array, "k *shape"], log_density: Float[Array, "*shape"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "k *shape"]]:
    """(a, b) with which |w f| and (w f)^2 of every sample, whoever drew it, count for what component k is due.

    sum a_k |w f| and sum b_k (w f)^2 over all samples have the means of sum |w f| and sum (w f)^2 over those that k
    draws: a_k = r_k g_k and b_k = r_k g_k^2, r_k = c_k / sum c_i the chance that k drew x (of those with h_i > 0), and
    g_k = (h_k / c_k) / (h_i / c_i) what makes the weight of i, which drew it, that of k. So a lamp's samples tell what
    the few that a BSDF sends there will bring, before there is one.

    **Arguments:** `log_density`, what the function of that name gave for the component that drew each sample.
    """
    if isinstance(heuristic, Balance | Optimal):
        share = weights.from_log(_less(log_c, log_density))
        return share, share
    log_h = heuristic.log_weights(log_c)
    counts = log_h > -jnp.inf
    log_share = jnp.where(counts, _less(log_c, jax.nn.logsumexp(log_c, axis=0, where=counts)), -jnp.inf)
    # log(c_i / h_i) is +inf for a sample that counts nothing.
    log_g = jnp.where(counts & (log_density < jnp.inf)[None], log_h - _less(log_c, log_density), -jnp.inf)
    first, second = (weights.from_log(jnp.minimum(log_share + power * log_g, LARGEST_LOG)) for power in (1, 2))
    return first, second


def _less(log_c: Float[Array, "k *shape"], log_density: Float[Array, "*shape"]) -> Float[Array, "k *shape"]:
    return weights.log_ratio(log_c, jnp.broadcast_to(log_density, log_c.shape))


def mixture_log_density(log_c: Float[Array, "k *shape"]) -> Float[Array, "*shape"]:
    """log sum_k c_k, c_k = alpha_k q_k: what `Balance` divides by, whoever drew the sample."""
    return log_space.log_sum_exp(list(log_c))


def log_terms(mixture: Any, x: Any) -> Float[Array, " k"]:
    """log(alpha_i q_i(x)) of every component at one point."""
    log_alpha = log_space.log_weights_of(mixture.weights)
    return jnp.stack([log_alpha[i] + component.log_prob(x) for i, component in enumerate(mixture.components)])


def _normalised(log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
    top = jnp.max(log_c, axis=0)[None]
    reached = top > -jnp.inf
    # From the largest one down, so that rounding of large logarithms cancels: the weights sum to 1 in every float.
    below = jnp.where(reached, log_c - jnp.where(reached, top, 0.0), -jnp.inf)
    total = jnp.log(jnp.sum(jnp.exp(below), axis=0))[None]
    # Where no proposal reaches, nothing is ever drawn: any weights will do.
    return jnp.where(reached, below - jnp.where(reached, total, 0.0), -jnp.log(1.0 * len(log_c)))
