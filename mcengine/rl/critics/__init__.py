"""Returns, targets of critics and advantages, all from one recurrence y_t = b_t + a_t y_{t+1} along the last axis.

`terminated` (the episode is over: nothing follows) and `truncated` (it was cut off: something would have followed) are
separate everywhere. What a step is worth beyond its reward is discount (1 - terminated) V(x_{t+1}), where x_{t+1} is
the observation that followed *before* any reset: `next_values` computes it. Sums over later steps stop at either. The
last step of an array is followed by nothing, so it counts as truncated.

Shapes are [..., T]; `discount` is a number or an array [..., T].
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
