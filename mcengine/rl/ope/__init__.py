"""Off-policy evaluation: the value of a target policy, estimated from a log of another policy's actions.

A log (`BanditLog`, `TrajectoryLog`) is checked when it is made. Every estimator takes a log and returns a
`PolicyValue`, an `Estimate` whose units are trajectories; `estimate_all` runs all that a log has the columns for.

| estimator | function | file |
| --- | --- | --- |
| IS, WIS, PDIS, WPDIS | `importance_sampling`, `per_decision`, and their weighted forms | `importance_sampling` |
| DR, WDR, DM | `doubly_robust`, `weighted_doubly_robust`, `direct_method` | `doubly_robust` |
| SWITCH, DRos (one step) | `switch`, `shrunk_doubly_robust` | `switch` |
| MAGIC (several steps) | `magic` | `magic` |
| MARG (several steps) | `marginalised` | `marginalised` |

The model of DR and its relatives is in `action_values` (fitted Q evaluation) on the bases of `linear_basis`; formulas
that work on arrays are in `returns`; several behaviour policies are combined in `loggers`. `policy_value` makes the
result and `weight_diagnostics` its status. Logs are in `logs` with their checks in `checks`, and are read from files
by `files`, `file_table` and `open_bandit`. `comparison` has `estimate_all` and `recommend`.

**Adding an estimator:** one file with a function of a log that returns `from_units(...)`, its export below, its line
in `comparison.estimate_all`, and its name in the README. `tests/rl/ope/test_ope_formulas.py` compares it with its
formula in NumPy, and `tests/battery/test_ope.py` then checks its intervals and statuses with those of the others.
"""

from mcengine.rl.ope.action_values import ActionValues, can_be_fitted, fitted_q
from mcengine.rl.ope.comparison import Recommendation, estimate_all, recommend
from mcengine.rl.ope.doubly_robust import direct_method, doubly_robust, weighted_doubly_robust
from mcengine.rl.ope.files import Columns, read_log
from mcengine.rl.ope.importance_sampling import (
    importance_sampling,
    per_decision,
    weighted_importance_sampling,
    weighted_per_decision,
)
from mcengine.rl.ope.loggers import mean_behaviour
from mcengine.rl.ope.logs import BanditLog, TrajectoryLog
from mcengine.rl.ope.magic import magic
from mcengine.rl.ope.marginalised import marginalised
from mcengine.rl.ope.open_bandit import OpenBandit, read_open_bandit
from mcengine.rl.ope.policy_value import PolicyValue
from mcengine.rl.ope.returns import doubly_robust_return
from mcengine.rl.ope.switch import shrunk_doubly_robust, switch

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
