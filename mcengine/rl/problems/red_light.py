"""The red light: what is a careful driver's policy worth, judged by a careless driver's data?"""

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from mcengine.distributions import Categorical
from mcengine.numerics.values import as_parameter
from mcengine.problems.expectation import Expectation

BRAKE, RUN = 0, 1


class RewardOfAction(eqx.Module):
    """f(action) = rewards[action]."""

    rewards: Float[Array, " actions"] = eqx.field(converter=as_parameter)

    def __call__(self, action: Int[Array, ""]) -> Float[Array, ""]:
        return self.rewards[action]


def red_light(brake=0.99, reward_brake=1.0, reward_run=-10.0) -> Expectation:
    """Mean reward of a driver who brakes at a red light with probability `brake`, else runs it.

    exact = brake reward_brake + (1 - brake) reward_run. Judged by the data of `driver(0.8)` the weights are
    0.99 / 0.8 = 1.2375 where that one braked and 0.01 / 0.2 = 0.05 where it ran, with mean 1.
    """
    parameters = (brake, reward_brake, reward_run)
    known = not any(isinstance(value, Tracer) for value in parameters)  # not inside jit or vmap
    exact = brake * reward_brake + (1 - brake) * reward_run if known else None
    return Expectation(RewardOfAction(_pair(reward_brake, reward_run)), driver(brake), exact=exact)


def driver(brake) -> Categorical:
    """The policy that brakes (action 0) with probability `brake` and runs the light (action 1) otherwise."""
    if not isinstance(brake, Tracer) and not 0 <= brake <= 1:
        raise ValueError(f"driver: brake must be a probability, got {brake}.")
    return Categorical(_pair(brake, 1 - brake))


def _pair(first, second):
    return jnp.stack([as_parameter(first), as_parameter(second)])
