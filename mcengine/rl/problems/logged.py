"""The MDP and the two policies that come with the package."""

import json
from importlib import resources
from typing import NamedTuple

import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from mcengine.rl.problems.mdp import TabularMDP, backward_induction


class LoggedPolicies(NamedTuple):
    """An MDP, the policy that made the data, the policy to be valued (each [S, A]) and the latter's exact value."""

    mdp: TabularMDP
    behaviour: Float[np.ndarray, "states actions"]
    target: Float[np.ndarray, "states actions"]
    exact: float | None


def load_tabular_mdp(horizon=None, discount=None, reward_noise=None) -> LoggedPolicies:
    """The 5-state, 2-action MDP of `data/tabular_mdp.json`; numbers given replace those of the file."""
    file = json.loads(resources.files("mcengine.rl").joinpath("data/tabular_mdp.json").read_text(encoding="utf-8"))
    given = {"horizon": horizon, "discount": discount, "reward_noise": reward_noise}
    numbers = {name: file[name] if value is None else value for name, value in given.items()}
    transition, reward, start, behaviour, target = (
        np.asarray(file[name]) for name in ("transition", "reward", "start", "behaviour", "target")
    )
    mdp = TabularMDP(transition, reward, start, **numbers)
    # From the float64 tables, not from the MDP's, which are rounded to float32.
    exact = None
    if not isinstance(discount, Tracer):
        exact = backward_induction(transition, reward, start, numbers["discount"], target, horizon=mdp.horizon)
    return LoggedPolicies(mdp, behaviour, target, exact)
