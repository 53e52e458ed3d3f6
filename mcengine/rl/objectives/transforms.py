"""Transforms: functions of the weight, applied to log-weights; modules that hold numbers, as in `mc.weighting`."""

import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete

LogWeights = Float[Array, "*shape"]
Number = Float[Array, ""]
Transform = Callable[[Array], Array]


class Identity(eqx.Module):
    """w itself."""

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return log_w


class Clip(eqx.Module):
    """clip(w, low, high); PPO has low = 1 - epsilon and high = 1 + epsilon.

    **Raises:** `ValueError` unless 0 <= low < high.
    """

    low: Number = eqx.field(converter=as_parameter)
    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("Clip", self.low, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return weights.clipped(log_w, _log(self.low, log_w), _log(self.high, log_w))


class Truncate(eqx.Module):
    """min(w, high): V-trace's rho_bar, CISPO's bound (1 + epsilon_high in libraries that state epsilon_high).

    **Raises:** `ValueError` unless high > 0.
    """

    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("Truncate", 0.0, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return weights.truncated(log_w, _log(self.high, log_w))


class DropOutside(eqx.Module):
    """w where low <= w <= high, else 0: masked importance sampling, which drops samples with extreme weights.

    **Raises:** `ValueError` unless 0 <= low < high.
    """

    low: Number = eqx.field(converter=as_parameter)
    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("DropOutside", self.low, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        # NaN is kept, because it shows that the data are wrong.
        dropped = (log_w < _log(self.low, log_w)) | (log_w > _log(self.high, log_w))
        return jnp.where(dropped, -jnp.inf, log_w)


def _require_order(name: str, low: ArrayLike, high: ArrayLike) -> None:
    sides = [None if side is None else float(side) for side in (concrete(low), concrete(high))]
    if (None not in sides and not (0.0 <= sides[0] < sides[1])) or any(s is not None and math.isnan(s) for s in sides):
        raise ValueError(f"{name}: needs 0 <= low < high, got low={sides[0]}, high={sides[1]}.")


def _log(bound: Number, like: Array) -> Array:
    return jnp.log(bound).astype(like.dtype)
