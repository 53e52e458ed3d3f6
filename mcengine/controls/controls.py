"""Control variates: functions whose mean is known, which reduce the variance.

With controls c of mean 0 the estimate is mean(w f) - beta mean(c), beta = Cov(c)^-1 Cov(c, w f). The coefficients come
from a pilot of independent samples, never from the units they correct: that would bias small runs and make intervals
too short (48 % coverage with 4 controls on 16 scrambles). With correlation r the variance falls to 1 - r^2.

Source: Owen, Monte Carlo theory, methods and examples, chapters 8.9 and 9.10; Owen and Zhou (2000) for components.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine import numerics, weights
from mcengine.distributions import Distribution, Mixture
from mcengine.numerics.values import concrete, pilot_size
from mcengine.proposals.mixture import mixture_of
from mcengine.summaries.columns import ControlColumns

MAX_CONTROLS = 16


class ControlVariates(eqx.Module):
    """Quantities with known means: the `controls` argument of `estimate`.

    **Adding control variates** is a subclass that states `number` and `columns`, its export here and in
    `mcengine/__init__.py`, its YAML in `conf/controls/`, and a line in `tests/controls/test_known_means.py`.

    `pilot` is the number of samples that find the coefficients (None: chosen by the engine); `needs_terms`, whether the
    columns read the densities of a mixture's components.
    """

    needs_terms: ClassVar[bool] = False

    # Without an annotation, which would make it the first field of a subclass.
    pilot = cast("int | None", None)

    @abstractmethod
    def number(self, event: PyTree, proposal: Distribution) -> int:
        """How many controls there are, for samples like `event` of `proposal`."""

    @abstractmethod
    def columns(
        self,
        x: PyTree,
        log_w: Float[Array, "*outputs n"] | None,
        log_terms: Float[Array, "k n"] | None,
        mixture: Mixture | None,
    ) -> ControlColumns:
        """The controls of samples x, along the last axis, from log-weights and log(alpha_k q_k) of a mixture."""


class Controls(ControlVariates):
    """Functions h of the sample with known means E_p[h(X)] under the target: c = w (h(x) - means).

    **Arguments:**

    - `function` h: from one sample to an array or a pytree of arrays.
    - `means`: of the same structure; a list of numbers stands for an array.
    - `pilot`: samples that find the coefficients, in addition to the budget; by default an eighth of it, and at least
      64 for each control where the budget has as many.

    A sample whose control is not finite counts as non-finite.

    **Raises:** `ValueError` for means that are not finite or of another structure, for more than 16 controls, and for a
    pilot of fewer than J + 3 samples (or units) for J controls, whose coefficients would have no finite variance. Also
    where the weighted mean of h - means in the pilot is more than 8 standard errors from 0: the mean is wrong, or the
    proposal does not cover the target, which a control needs even where f does not. Inside a trace the value and its
    gradients are NaN then, with the status NON_FINITE; `replicate` checks the pilots of all its runs together.
    """

    function: Callable[[PyTree], PyTree]
    means: PyTree = eqx.field(converter=lambda tree: jax.tree.map(lambda m: jnp.asarray(m, float), tree))
    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Controls"))

    def __check_init__(self):
        known = [concrete(leaf) for leaf in jax.tree.leaves(self.means)]
        if any(mean is not None and not np.all(np.isfinite(mean)) for mean in known):
            raise ValueError(f"Controls: the means must be finite, got {self.means}.")

    def number(self, event: PyTree, proposal: Distribution) -> int:
        """How many controls there are."""
        found = jax.eval_shape(self.function, event)
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (found, self._means_like(found))]
        if shapes[0] != shapes[1]:
            raise ValueError(f"Controls: the function returns shapes {shapes[0]}, the means have {shapes[1]}.")
        number = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(found))
        if not 1 <= number <= MAX_CONTROLS:
            raise ValueError(f"Controls: there must be 1 to {MAX_CONTROLS} controls, got {number}.")
        return number

    def columns(
        self,
        x: PyTree,
        log_w: Float[Array, "*outputs n"] | None,
        log_terms: Float[Array, "k n"] | None,
        mixture: Mixture | None,
    ) -> ControlColumns:
        """The controls of samples x, along the last axis."""
        dtype = numerics.float_dtype()
        h = numerics.over_samples(self.function)(x)
        # A control may return integers or booleans, whose means are floats.
        centred = jax.tree.map(lambda v, m: v.astype(dtype) - m.astype(dtype)[..., None], h, self._means_like(h))
        values = jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]) for leaf in jax.tree.leaves(centred)])
        if log_w is not None and log_w.ndim > 1:
            raise ValueError("Controls: the problem weighs each output by itself, so the controls have no weight.")
        return ControlColumns(None if log_w is None else jnp.broadcast_to(log_w, values.shape), values)

    def _means_like(self, found: PyTree) -> PyTree:
        """The means as arrays in the structure of `found`; unchanged where their structure differs."""
        try:
            return jax.tree.map(lambda _, means: _stacked(means), found, self.means)
        except ValueError:
            return self.means


class Components(ControlVariates):
    """The components of a mixture proposal as controls: q_k(x) / q_mix(x) - 1 has mean 0 under the mixture.

    `mis.Optimal` uses them. One component is left out, since their weighted sum is 0.

    **Arguments:** `pilot`, as in `Controls`.

    **Raises:** `ValueError` for a mixture of fewer than 2 or more than 17 components; `TypeError` for other proposals.
    """

    needs_terms = True

    pilot: int | None = eqx.field(static=True, default=None, converter=pilot_size("Components"))

    def number(self, event: PyTree, proposal: Distribution) -> int:
        """How many controls there are."""
        mixture = mixture_of(proposal)
        if mixture is None:
            raise TypeError("Components: the proposal is not a mixture, so it has no components.")
        number = len(mixture.components)
        if not 2 <= number <= MAX_CONTROLS + 1:
            raise ValueError(
                f"estimate: mis.Optimal and Components need a mixture of 2 to {MAX_CONTROLS + 1} components, and this "
                f"one has {number}."
            )
        return number - 1

    def columns(
        self,
        x: PyTree,
        log_w: Float[Array, "*outputs n"] | None,
        log_terms: Float[Array, "k n"] | None,
        mixture: Mixture | None,
    ) -> ControlColumns:
        """The controls of samples x, along the last axis."""
        assert log_terms is not None
        assert mixture is not None
        # log(alpha_k q_k) to log q_k; the mixture's own density is what the balance heuristic divides by.
        log_alpha = jnp.log(jnp.maximum(mixture.weights, jnp.finfo(mixture.weights.dtype).tiny))
        log_mixture = jax.nn.logsumexp(log_terms, axis=0)
        ratios = weights.log_ratio(
            log_terms[:-1] - log_alpha[:-1, None], jnp.broadcast_to(log_mixture, log_terms[:-1].shape)
        )
        return ControlColumns(None, weights.from_log(ratios) - 1.0)


def _stacked(means: PyTree) -> PyTree:
    """An array from a list of numbers, or of lists of them."""
    return jnp.stack([_stacked(mean) for mean in means]) if isinstance(means, list | tuple) and means else means
