"""Multiple importance sampling: how samples of several proposals q_i, with mixture weights alpha_i, are combined.

A sample x of proposal i contributes h_i(x) p(x) f(x) / (alpha_i q_i(x)), with weights h that sum to 1 at every x. This
is unbiased for any such h, since sum_i int h_i f p = int f p. One-sample and multi-sample estimators, mixtures in
finance, light and BSDF sampling, several behaviour policies: all have this form, and all use `log_density`.

Source: E. Veach and L. Guibas, Optimally combining sampling techniques (SIGGRAPH 1995); Veach's thesis, chapter 9.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mcengine import numerics, weights
from mcengine.numerics import log_space
from mcengine.numerics.values import as_parameter, concrete, pilot_size

# The largest logarithm of a factor in float32. A larger factor would only multiply values that are practically 0.
LARGEST_LOG = 80.0


class Heuristic(eqx.Module):
    """Weights h_i(x) of the proposals of a mixture, which sum to 1 at every x.

    **A heuristic states** `log_weights` and what differs from this default:

    - `uses_mixture_density`, False: c_i / h_i is the density of the mixture, whichever proposal drew x, so that nobody
      need know which one did.

    **Adding a heuristic.** It needs its class here, `conf/mis/NAME.yaml`, a line in the list of
    `tests/weights/test_mis.py`, and its name in the README's table of choices. The shared tests then check that its
    weights sum to 1 over forty orders of magnitude, that a proposal without density has no weight, that the estimate is
    unbiased and its intervals cover, for mixtures and for fixed counts, and that its YAML exists.
    """

    uses_mixture_density: ClassVar[bool] = False

    @abstractmethod
    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        """log h_i for every proposal i, along the first axis, from log c_i = log(alpha_i q_i(x))."""


class Balance(Heuristic):
    """h_i = c_i / sum_k c_k, c_i = alpha_i q_i: each sample is divided by the density of the mixture.

    No heuristic has a much lower variance (Veach, theorem 9.2).
    """

    uses_mixture_density: ClassVar[bool] = True

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return _normalised(log_c)


class Power(Heuristic):
    """h_i = c_i^beta / sum_k c_k^beta: sharper than `Balance`; good where one proposal fits nearly perfectly.

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


_is_above_cutoff = numerics.refuse_derivative(
    _is_large,
    "The weights of mis.Cutoff and mis.Maximum jump where a proposal falls below the cutoff, and a gradient along the "
    "proposals' parameters would silently miss the jumps. Use mis.Balance() or mis.Power(), or "
    "jax.lax.stop_gradient(proposal) where only problem parameters are meant.",
)


class Cutoff(Heuristic):
    """`Balance` among the proposals with c_i >= alpha max_k c_k; the others have weight 0.

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
        return _normalised(jnp.where(_is_above_cutoff(log_c, log_alpha), log_c, -jnp.inf))


class Maximum(Heuristic):
    """h_i = 1 for the proposal with the largest c_i (equal parts where several tie), else 0.

    Differentiating along the proposals' parameters raises: the weights jump.
    """

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return Cutoff(1.0).log_weights(log_c)


class Optimal(Heuristic):
    """The balance heuristic with the components as controls: the least variance of all weights h, also negative ones.

    The optimal weights of Kondapaneni et al. (SIGGRAPH 2019) are Owen and Zhou's (2000) control variates
    q_k / q_mix - 1 with mean 0. Their coefficients come from a pilot of independent samples, so that the estimate stays
    unbiased.

    **Arguments:** `pilot`, samples of the pilot; by default an eighth of the budget, drawn besides the budget.

    The mixture must have 2 to 17 components.
    """

    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Optimal"))
    uses_mixture_density: ClassVar[bool] = True

    def log_weights(self, log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        return Balance().log_weights(log_c)


def log_density(
    heuristic: Heuristic, log_c: Float[Array, "k *shape"], chosen: Int[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log(alpha_i q_i(x) / h_i(x)) for the proposal i that drew x, which takes the place of log q in the weight of x.

    It is the log density of the mixture for `Balance`, and +inf (weight 0) where h_i = 0.

    **Arguments:**

    - `log_c`: log(alpha_k q_k(x)) of every proposal;
    - `chosen`: the index of the proposal that drew each sample.
    """
    log_h = heuristic.log_weights(log_c)
    mine = jnp.take_along_axis(jnp.stack([log_c, log_h]), chosen[None, None], axis=1)[:, 0]
    return jnp.where(mine[1] > -jnp.inf, mine[0] - jnp.where(mine[1] > -jnp.inf, mine[1], 0.0), jnp.inf)


def expected_contributions(
    heuristic: Heuristic, log_c: Float[Array, "k *shape"], log_density: Float[Array, "*shape"]
) -> tuple[Float[Array, "k *shape"], Float[Array, "k *shape"]]:
    """Factors (a, b) for the sums of |w f| and (w f)^2 that are expected of the samples of each component k.

    Over all samples, sum a_k |w f| and sum b_k (w f)^2 have the means of sum |w f| and sum (w f)^2 over the samples
    that k draws. Here a_k = r_k g_k and b_k = r_k g_k^2, where r_k = c_k / sum_i c_i is the probability that k drew x
    (among the components with h_i > 0), and g_k = (h_k / c_k) / (h_i / c_i) turns the weight under the component i that
    drew x into the weight under k. So the samples of a lamp predict what the rare BSDF samples that hit it contribute,
    before there is one.

    **Arguments:**

    - `log_c`: log(alpha_k q_k(x)) of every component;
    - `log_density`: the result of `log_density` for the component that drew each sample.

    **Returns:** a and b for every component and sample.
    """
    if heuristic.uses_mixture_density:
        share = weights.from_log(_less(log_c, log_density))
        return share, share
    log_h = heuristic.log_weights(log_c)
    has_weight = log_h > -jnp.inf
    log_share = jnp.where(has_weight, _less(log_c, jax.nn.logsumexp(log_c, axis=0, where=has_weight)), -jnp.inf)
    # log(c_i / h_i) is +inf for a sample of weight 0.
    log_g = jnp.where(has_weight & (log_density < jnp.inf)[None], log_h - _less(log_c, log_density), -jnp.inf)
    first, second = (weights.from_log(jnp.minimum(log_share + power * log_g, LARGEST_LOG)) for power in (1, 2))
    return first, second


def _less(log_c: Float[Array, "k *shape"], log_density: Float[Array, "*shape"]) -> Float[Array, "k *shape"]:
    return weights.log_ratio(log_c, jnp.broadcast_to(log_density, log_c.shape))


def mixture_log_density(log_c: Float[Array, "k *shape"]) -> Float[Array, "*shape"]:
    """log sum_k c_k, c_k = alpha_k q_k: the density that `Balance` divides by, whichever component drew the sample."""
    return log_space.log_sum_exp(list(log_c))


def log_terms(mixture: Any, x: Any) -> Float[Array, " k"]:
    """log(alpha_i q_i(x)) of every component at one point."""
    log_alpha = log_space.log_weights_of(mixture.weights)
    return jnp.stack([log_alpha[i] + component.log_prob(x) for i, component in enumerate(mixture.components)])


def _normalised(log_c: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
    top = jnp.max(log_c, axis=0)[None]
    is_covered = top > -jnp.inf
    # Relative to the largest one, so that the rounding of large logarithms cancels and the weights sum to 1.
    below = jnp.where(is_covered, log_c - jnp.where(is_covered, top, 0.0), -jnp.inf)
    total = jnp.log(jnp.sum(jnp.exp(below), axis=0))[None]
    # Where no proposal has a density, no sample is ever drawn, and any weights will do.
    return jnp.where(is_covered, below - jnp.where(is_covered, total, 0.0), -jnp.log(1.0 * len(log_c)))
