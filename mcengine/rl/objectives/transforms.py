"""Transforms: what an objective does to a weight before using it, in logs. Holders of numbers, as in `mc.weighting`."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcengine import weights
from mcengine.numerics.values import as_parameter, concrete

LogWeights = Float[Array, "*shape"]
Number = Float[Array, ""]


class Identity(eqx.Module):
    """w, as it is."""

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return log_w


class Clip(eqx.Module):
    """clip(w, low, high); PPO's with low = 1 - epsilon and high = 1 + epsilon.

    **Raises:** `ValueError` unless 0 <= low < high.
    """

    low: Number = eqx.field(converter=as_parameter)
    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("Clip", self.low, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return weights.clipped(log_w, _log(self.low, log_w), _log(self.high, log_w))


class Truncate(eqx.Module):
    """min(w, high): V-trace's rho_bar, CISPO's bound (1 + epsilon_high in the libraries that state it so)."""

    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("Truncate", 0.0, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        return weights.truncated(log_w, _log(self.high, log_w))


class DropOutside(eqx.Module):
    """w where low <= w <= high, else 0: masked importance sampling, which trusts no sample that is far off."""

    low: Number = eqx.field(converter=as_parameter)
    high: Number = eqx.field(converter=as_parameter)

    def __check_init__(self):
        _require_order("DropOutside", self.low, self.high)

    def __call__(self, log_w: LogWeights) -> LogWeights:
        # NaN is not dropped: it says that the data are wrong.
        dropped = (log_w < _log(self.low, log_w)) | (log_w > _log(self.high, log_w))
        return jnp.where(dropped, -jnp.inf, log_w)


def _require_order(name: str, low: Any, high: Any) -> None:
    sides = [None if side is None else float(side) for side in (concrete(low), concrete(high))]
    if (None not in sides and not (0.0 <= sides[0] < sides[1])) or any(s is not None and math.isnan(s) for s in sides):
        raise ValueError(f"{name}: needs 0 <= low < high, got low={sides[0]}, high={sides[1]}.")


def _log(bound: Number, like: Array) -> Array:
    return jnp.log(bound).astype(like.dtype)
