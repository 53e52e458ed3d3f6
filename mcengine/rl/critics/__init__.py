"""Returns, critic targets and advantages, all by one recurrence: y_t = b_t + a_t y_{t+1} along the last axis.

Shapes are [..., T]. The arguments that several functions share:

- `rewards`, [..., T].
- `next_v`, [..., T]: V(x_{t+1}) of the observation that followed step t, before any reset (see `next_values`).
- `discount`: one number, or [..., T].
- `terminated`, [..., T], booleans: the episode ended at this step, so the value of what follows is 0.
- `truncated`, [..., T], booleans: the episode was cut off at this step, so what follows is worth V(x_{t+1}).

A target bootstraps with discount (1 - terminated) V(x_{t+1}). Sums over later steps stop at either flag. The last step
of an array counts as truncated.

All functions raise `ValueError` naming the argument for shapes that differ, arrays without steps, and values that are
not finite; inside `jit` only shapes are checked.

Files: `episode_ends` (flags and discounts), `recurrence` (the recurrence itself), `returns` (Monte Carlo, n-step,
lambda-returns, GAE), `off_policy` (V-trace, Retrace, tree backup, Q(lambda)), `groups` (GRPO's group advantages).
"""

from mcengine.rl.critics.episode_ends import next_values as next_values
from mcengine.rl.critics.groups import group_advantages as group_advantages
from mcengine.rl.critics.groups import leave_one_out_advantages as leave_one_out_advantages
from mcengine.rl.critics.off_policy import CriticTargets as CriticTargets
from mcengine.rl.critics.off_policy import q_targets as q_targets
from mcengine.rl.critics.off_policy import retrace_traces as retrace_traces
from mcengine.rl.critics.off_policy import tree_backup_traces as tree_backup_traces
from mcengine.rl.critics.off_policy import vtrace as vtrace
from mcengine.rl.critics.recurrence import backward as backward
from mcengine.rl.critics.returns import gae as gae
from mcengine.rl.critics.returns import lambda_returns as lambda_returns
from mcengine.rl.critics.returns import n_step_targets as n_step_targets
from mcengine.rl.critics.returns import rewards_to_go as rewards_to_go
from mcengine.rl.critics.returns import td_targets as td_targets
from mcengine.rl.critics.returns import total_returns as total_returns
