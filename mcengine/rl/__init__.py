"""Off-policy evaluation: the value of a new policy from what an old policy did."""

from mcengine.rl.logged import LoggedPolicies, load_tabular_mdp
from mcengine.rl.luck import luck
from mcengine.rl.mdp import TabularMDP, value_of_policy
from mcengine.rl.policy_value import (
    DiscountedReturn,
    PerDecisionReturn,
    behaviour_trajectories,
    mixed_trajectories,
    per_decision_tabular_mdp,
    per_decision_value,
    policy_value,
    tabular_mdp,
)
from mcengine.rl.red_light import driver, red_light
from mcengine.rl.trajectories import Trajectories, Trajectory

__all__ = [
    "DiscountedReturn",
    "LoggedPolicies",
    "PerDecisionReturn",
    "TabularMDP",
    "Trajectories",
    "Trajectory",
    "behaviour_trajectories",
    "driver",
    "load_tabular_mdp",
    "luck",
    "mixed_trajectories",
    "per_decision_tabular_mdp",
    "per_decision_value",
    "policy_value",
    "red_light",
    "tabular_mdp",
    "value_of_policy",
]
