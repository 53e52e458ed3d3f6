"""Reinforcement learning: policy objectives, critics and divergences on one weight module, and off-policy evaluation.

Objectives are choices from one family (`objectives.surrogate_loss`): a level (`levels`), a transform (`transforms`), a
form (`forms`) and a reduction (`reductions`).
"""

from mcengine.rl import advantages as advantages
from mcengine.rl import forms as forms
from mcengine.rl import kl as kl
from mcengine.rl import levels as levels
from mcengine.rl import objectives as objectives
from mcengine.rl import reductions as reductions
from mcengine.rl import transforms as transforms
from mcengine.rl.beta_rules import adaptive_beta, proportional_beta
from mcengine.rl.guided_policy_search import guided_policy_search_loss
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
from mcengine.rl.recurrence import backward
from mcengine.rl.red_light import driver, red_light
from mcengine.rl.regression_weights import (
    advantage_weights,
    exponentiated_advantages,
    replay_weights,
    solve_temperature,
    temperature_dual,
)
from mcengine.rl.trajectories import Trajectories, Trajectory
from mcengine.rl.trust_region import TrustRegionInfo, fisher_vector_product, trust_region_step
from mcengine.rl.update_diagnostics import UpdateDiagnostics, update_diagnostics

__all__ = [
    "DiscountedReturn",
    "LoggedPolicies",
    "PerDecisionReturn",
    "TabularMDP",
    "Trajectories",
    "Trajectory",
    "TrustRegionInfo",
    "UpdateDiagnostics",
    "adaptive_beta",
    "advantage_weights",
    "advantages",
    "backward",
    "behaviour_trajectories",
    "driver",
    "exponentiated_advantages",
    "fisher_vector_product",
    "forms",
    "guided_policy_search_loss",
    "kl",
    "levels",
    "load_tabular_mdp",
    "luck",
    "mixed_trajectories",
    "objectives",
    "per_decision_tabular_mdp",
    "per_decision_value",
    "policy_value",
    "proportional_beta",
    "red_light",
    "reductions",
    "replay_weights",
    "solve_temperature",
    "tabular_mdp",
    "temperature_dual",
    "transforms",
    "trust_region_step",
    "update_diagnostics",
    "value_of_policy",
]
