"""What is done to the raw weights of a run: the `weighting` argument of `estimate`, one class for each method.

Each class holds the numbers of its method; the formulas are functions of `mcengine.weights`.
"""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete


class Weighting(eqx.Module):
    """What is done to the log-weights of a block before its samples are averaged.

    **A weighting states** `transform` and what differs from these defaults:

    - `changes_weights`, True: `transform` is called. Controls are then refused, since they need the raw weights;
    - `self_normalised`, False: the mean of w f is divided by the mean of w;
    - `couples_samples`, False: the change of one weight depends on the other weights of its block;
    - `without_normalisation`, the weighting itself: the same change without the division by the mean of w.

    **Adding a weighting.** It needs its class here, `conf/weighting/NAME.yaml`, a line in the list of
    `tests/weights/test_weighting.py`, and its name in the README's table of choices. The shared tests then check that
    weights of 0 and the padding of a block stay at 0, that order is kept, and that its YAML exists, and on every
    problem that its intervals cover or that the status says why they do not (tests/battery).
    """

    changes_weights: ClassVar[bool] = True
    self_normalised: ClassVar[bool] = False
    couples_samples: ClassVar[bool] = False

    @property
    def without_normalisation(self) -> "Weighting":
        """The weighting that changes weights as this one does and divides by nothing."""
        return self

    @abstractmethod
    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        """The changed log-weights of a block.

        **Arguments:**

        - `log_w`: log-weights of the n samples of a block, or of each output and sample; -inf for padding;
        - `num_valid`: how many samples of the block are not padding;
        - `num_samples`: samples of the whole run; None where their number is not known beforehand.
        """


class Raw(Weighting):
    """mean(w f): unbiased. The default."""

    changes_weights: ClassVar[bool] = False

    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        return log_w


class SelfNormalised(Weighting):
    """mean(w f) / mean(w): for densities known up to a constant. Biased by O(1/n); error bar by the delta method.

    **Arguments:** `of`, the weighting that changes the weights first.
    """

    of: Weighting = Raw()
    self_normalised: ClassVar[bool] = True

    @property
    def changes_weights(self) -> bool:
        return self.of.changes_weights

    @property
    def couples_samples(self) -> bool:
        return self.of.couples_samples

    @property
    def without_normalisation(self) -> Weighting:
        return self.of.without_normalisation

    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        return self.of.transform(log_w, num_valid, num_samples)


class Truncated(Weighting):
    """mean(min(w, limit) f). Its variance is always finite, its bias is -E_q[(w - limit)+ f].

    The result reports the bias that its samples show.

    **Arguments:** `limit` > 0, by default sqrt(n) (Ionides 2008), which is meant for normalised p and q.
    """

    limit: Float[Array, ""] | None = eqx.field(default=None, converter=lambda x: None if x is None else as_parameter(x))

    def __check_init__(self):
        if self.limit is not None:
            _require_ordered("Truncated", as_parameter(0.0), self.limit)

    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        if self.limit is not None:
            return weights.truncated(log_w, jnp.log(self.limit.astype(log_w.dtype)))
        if num_samples is None:
            raise ValueError("Truncated: the limit sqrt(n) needs a budget in samples; give limit=... or mc.Samples(n).")
        return weights.truncated(log_w, 0.5 * jnp.log(num_samples.astype(log_w.dtype)))


class Clipped(Weighting):
    """mean(clip(w, low, high) f). Biased; the result reports the bias that its samples show.

    Samples outside the target (w = 0) still count as 0.

    **Arguments:** 0 <= `low` < `high`.
    """

    low: Float[Array, ""] = eqx.field(converter=as_parameter)
    high: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_ordered("Clipped", as_parameter(0.0), self.high)
        _require_ordered("Clipped", self.low, self.high)

    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        clipped = weights.clipped(log_w, *(jnp.log(x.astype(log_w.dtype)) for x in (self.low, self.high)))
        return jnp.where(log_w > -jnp.inf, clipped, -jnp.inf)


class ParetoSmoothed(Weighting):
    """mean(w' f), where the largest weights of each block of samples are replaced by smoothed ones.

    Up to 2^18 samples this is Pareto-smoothed importance sampling as published; a larger run is smoothed block by
    block, so that memory does not grow. Lower variance than raw weights, at a small bias; useless above k-hat 0.7.
    """

    couples_samples: ClassVar[bool] = True

    def transform(
        self, log_w: Float[Array, "*outputs n"], num_valid: Int[Array, ""], num_samples: Float[Array, ""] | None
    ) -> Float[Array, "*outputs n"]:
        return weights.pareto_smoothed(log_w, num_valid)[0]


def _require_ordered(name: str, low: Float[Array, ""], high: Float[Array, ""]) -> None:
    low_value, high_value = concrete(low), concrete(high)
    if low_value is not None and high_value is not None and not (0 <= low_value < high_value):
        raise ValueError(f"{name}: needs 0 <= low < high, got low={low_value}, high={high_value}.")
