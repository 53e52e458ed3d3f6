"""The red light: a bandit with two actions, where a careful driver is evaluated by data of a careless one."""

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
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


def red_light(brake: ArrayLike = 0.99, reward_brake: ArrayLike = 1.0, reward_run: ArrayLike = -10.0) -> Expectation:
    """The mean reward of a driver who brakes at a red light with probability `brake` and otherwise runs it.

    exact = brake reward_brake + (1 - brake) reward_run. With data of `driver(0.8)` the weights are 0.99 / 0.8 = 1.2375
    for braking and 0.01 / 0.2 = 0.05 for running the light; their mean is 1.
    """
    parameters = (brake, reward_brake, reward_run)
    known = not any(isinstance(value, Tracer) for value in parameters)  # not inside jit or vmap
    exact = brake * reward_brake + (1 - brake) * reward_run if known else None
    return Expectation(RewardOfAction(_pair(reward_brake, reward_run)), driver(brake), exact=exact)


def driver(brake: ArrayLike) -> Categorical:
    """The policy that brakes (action 0) with probability `brake` and otherwise runs the light (action 1).

    **Raises:** `ValueError` unless 0 <= brake <= 1.
    """
    if not isinstance(brake, Tracer) and not 0 <= brake <= 1:
        raise ValueError(f"driver: brake must be a probability, got {brake}.")
    return Categorical(_pair(brake, 1 - brake))


def _pair(first: ArrayLike, second: ArrayLike) -> Float[Array, "2"]:
    return jnp.stack([as_parameter(first), as_parameter(second)])
