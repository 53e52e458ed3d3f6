"""Reinforcement learning: policy objectives, critics, divergences, and off-policy evaluation.

Rooms: `objectives` (losses of the policy), `critics` (returns, targets and advantages; also `rl.advantages`),
`policies` (divergences, trust regions, weights by advantages), `problems` (policy values in tabular MDPs) and `ope`
(off-policy evaluation from logs, imported on its own: `from mcengine.rl import ope`). `inputs` has the argument checks
that they share. All importance weights come from `mcengine.weights`.
"""

from mcengine.numerics.deprecation import deprecated_names
from mcengine.rl import critics as advantages
from mcengine.rl import objectives as objectives
from mcengine.rl.critics.recurrence import backward
from mcengine.rl.objectives import forms as forms
from mcengine.rl.objectives import levels as levels
from mcengine.rl.objectives import reductions as reductions
from mcengine.rl.objectives import transforms as transforms
from mcengine.rl.objectives.beta_rules import adaptive_beta, proportional_beta
from mcengine.rl.objectives.guided_policy_search import guided_policy_search_loss
from mcengine.rl.objectives.update_diagnostics import UpdateDiagnostics, update_diagnostics
from mcengine.rl.policies import kl as kl
from mcengine.rl.policies.regression_weights import (
    advantage_weights,
    exponentiated_advantages,
    replay_weights,
    solve_temperature,
    temperature_dual,
)
from mcengine.rl.policies.trust_region import TrustRegionInfo, fisher_vector_product, trust_region_step
from mcengine.rl.problems.advantage_sums import advantage_sums
from mcengine.rl.problems.logged import LoggedPolicies, load_tabular_mdp
from mcengine.rl.problems.mdp import TabularMDP, value_of_policy
from mcengine.rl.problems.policy_value import (
    DiscountedReturn,
    PerDecisionReturn,
    behaviour_trajectories,
    mixed_trajectories,
    per_decision_tabular_mdp,
    per_decision_value,
    policy_value,
    tabular_mdp,
)
from mcengine.rl.problems.red_light import driver, red_light
from mcengine.rl.problems.trajectories import Trajectories, Trajectory

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
    "advantage_sums",
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

__getattr__ = deprecated_names(__name__, {"luck": "advantage_sums"})
