"""What becomes of the raw weights of a run: the `weighting` argument of `estimate`, one class per method.

Each is a thin holder of numbers around a function of `mcengine.weights`. A weighting offers the engine
`transform(log_w, num_valid, num_samples)`, called where `changes_weights`; `self_normalised`; and `couples_samples`,
true where a weight's change depends on the others of its block.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete


@runtime_checkable
class Weighting(Protocol):
    """See the module's docstring."""

    @property
    def changes_weights(self) -> bool: ...

    @property
    def self_normalised(self) -> bool: ...

    @property
    def couples_samples(self) -> bool: ...

    def transform(self, log_w: Array, num_valid: Array, num_samples: Array | None) -> Array: ...


class Raw(eqx.Module):
    """mean(w f): unbiased. The default."""

    @property
    def changes_weights(self) -> bool:
        return False

    @property
    def self_normalised(self) -> bool:
        return False

    @property
    def couples_samples(self) -> bool:
        return False

    def transform(self, log_w, num_valid, num_samples):
        return log_w


class SelfNormalised(eqx.Module):
    """mean(w f) / mean(w): for densities known up to a constant. Biased by O(1/n); error bar by the delta method.

    **Arguments:** `of`, the weighting applied to the weights first.
    """

    of: Any = eqx.field(default_factory=Raw)

    @property
    def changes_weights(self) -> bool:
        return self.of.changes_weights

    @property
    def self_normalised(self) -> bool:
        return True

    @property
    def couples_samples(self) -> bool:
        return self.of.couples_samples

    def transform(self, log_w, num_valid, num_samples):
        return self.of.transform(log_w, num_valid, num_samples)


class Truncated(eqx.Module):
    """mean(min(w, limit) f). Finite variance always, biased by -E_q[(w - limit)+ f]; the result reports the bias seen.

    **Arguments:** `limit` > 0, by default sqrt(n) (Ionides 2008), which is meant for normalised p and q.
    """

    limit: Float[Array, ""] | None = eqx.field(default=None, converter=lambda x: None if x is None else as_parameter(x))

    def __check_init__(self):
        _require_ordered("Truncated", 0.0, self.limit)

    @property
    def changes_weights(self) -> bool:
        return True

    @property
    def self_normalised(self) -> bool:
        return False

    @property
    def couples_samples(self) -> bool:
        return False

    def transform(self, log_w, num_valid, num_samples):
        if self.limit is not None:
            return weights.truncated(log_w, jnp.log(self.limit.astype(log_w.dtype)))
        if num_samples is None:
            raise ValueError("Truncated: the limit sqrt(n) needs a budget in samples; give limit=... or mc.Samples(n).")
        return weights.truncated(log_w, 0.5 * jnp.log(num_samples.astype(log_w.dtype)))


class Clipped(eqx.Module):
    """mean(clip(w, low, high) f). Biased; the result reports the bias seen.

    Samples outside the target (w = 0) count as 0 still.

    **Arguments:** 0 <= `low` < `high`.
    """

    low: Float[Array, ""] = eqx.field(converter=as_parameter)
    high: Float[Array, ""] = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_ordered("Clipped", 0.0, self.high)
        _require_ordered("Clipped", self.low, self.high)

    @property
    def changes_weights(self) -> bool:
        return True

    @property
    def self_normalised(self) -> bool:
        return False

    @property
    def couples_samples(self) -> bool:
        return False

    def transform(self, log_w, num_valid, num_samples):
        clipped = weights.clipped(log_w, *(jnp.log(x.astype(log_w.dtype)) for x in (self.low, self.high)))
        return jnp.where(log_w > -jnp.inf, clipped, -jnp.inf)


class ParetoSmoothed(eqx.Module):
    """mean(w' f) with the largest weights of each block of samples replaced by smoothed ones.

    Up to 2^18 samples that is Pareto-smoothed importance sampling as published; beyond, each block is smoothed by
    itself, so that memory stays flat. Lower variance than raw weights, at a small bias; useless above k-hat 0.7.
    """

    @property
    def changes_weights(self) -> bool:
        return True

    @property
    def self_normalised(self) -> bool:
        return False

    @property
    def couples_samples(self) -> bool:
        return True

    def transform(self, log_w, num_valid, num_samples):
        return weights.pareto_smoothed(log_w, num_valid)[0]


def _require_ordered(name: str, low: Any, high: Any) -> None:

    low_value, high_value = concrete(jnp.asarray(low)), None if high is None else concrete(high)
    if low_value is not None and high_value is not None and not (0 <= low_value < high_value):
        raise ValueError(f"{name}: needs 0 <= low < high, got low={low_value}, high={high_value}.")
