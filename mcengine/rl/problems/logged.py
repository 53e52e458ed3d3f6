"""The MDP and the two policies that come with the package."""

import json
from importlib import resources
from typing import NamedTuple

import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Float

from mcengine.rl.problems.mdp import TabularMDP, backward_induction


class LoggedPolicies(NamedTuple):
    """An MDP, the `behaviour` policy that made the data, the `target` policy to be evaluated (each [S, A]) and the
    target's `exact` value (None if the discount is traced).
    """

    mdp: TabularMDP
    behaviour: Float[np.ndarray, "states actions"]
    target: Float[np.ndarray, "states actions"]
    exact: float | None


def load_tabular_mdp(
    horizon: int | None = None, discount: ArrayLike | None = None, reward_noise: ArrayLike | None = None
) -> LoggedPolicies:
    """The MDP with 5 states and 2 actions of `data/tabular_mdp.json`; arguments replace the numbers of the file."""
    file = json.loads(resources.files("mcengine.rl").joinpath("data/tabular_mdp.json").read_text(encoding="utf-8"))
    given = {"horizon": horizon, "discount": discount, "reward_noise": reward_noise}
    numbers = {name: file[name] if value is None else value for name, value in given.items()}
    transition, reward, start, behaviour, target = (
        np.asarray(file[name]) for name in ("transition", "reward", "start", "behaviour", "target")
    )
    mdp = TabularMDP(transition, reward, start, **numbers)
    # From the float64 tables of the file: those of the MDP are rounded to float32.
    exact = None
    if not isinstance(discount, Tracer):
        exact = backward_induction(transition, reward, start, target, discount=numbers["discount"], horizon=mdp.horizon)
    return LoggedPolicies(mdp, behaviour, target, exact)
