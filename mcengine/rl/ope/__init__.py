"""Off-policy evaluation from logs: what a policy is worth, by what another policy did, and how far to trust that."""

from mcengine.rl.ope.bandit import shrunk_doubly_robust, switch
from mcengine.rl.ope.blended import magic
from mcengine.rl.ope.corrections import direct_method, doubly_robust, weighted_doubly_robust
from mcengine.rl.ope.files import Columns, read_log
from mcengine.rl.ope.importance import (
    importance_sampling,
    per_decision,
    weighted_importance_sampling,
    weighted_per_decision,
)
from mcengine.rl.ope.loggers import mean_behaviour
from mcengine.rl.ope.logs import BanditLog, TrajectoryLog
from mcengine.rl.ope.marginal import marginalised
from mcengine.rl.ope.models import ActionValues, can_be_fitted, fitted_q
from mcengine.rl.ope.open_bandit import OpenBandit, read_open_bandit
from mcengine.rl.ope.policy_value import PolicyValue
from mcengine.rl.ope.returns import doubly_robust_return
from mcengine.rl.ope.table import Recommendation, estimate_all, recommend

__all__ = [
    "ActionValues",
    "BanditLog",
    "Columns",
    "OpenBandit",
    "PolicyValue",
    "Recommendation",
    "TrajectoryLog",
    "can_be_fitted",
    "direct_method",
    "doubly_robust",
    "doubly_robust_return",
    "estimate_all",
    "fitted_q",
    "importance_sampling",
    "magic",
    "marginalised",
    "mean_behaviour",
    "per_decision",
    "read_log",
    "read_open_bandit",
    "recommend",
    "shrunk_doubly_robust",
    "switch",
    "weighted_doubly_robust",
    "weighted_importance_sampling",
    "weighted_per_decision",
]
