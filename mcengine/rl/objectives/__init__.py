"""Policy objectives as losses. One family: a level, a transform, a form, a reduction (`surrogate_loss`).

All take log-probabilities of the actions taken, under the policy that learns (`log_pi`) and under the policy that acted
(`log_mu`, held fixed), advantages, and a mask; any network library may have made them. Shapes are [..., T] with time or
tokens last; advantages are [..., T], or [..., 1] where a sequence has one. A loss is minus what is maximised. It is at
least float32, whatever the precision of the arrays.

No objective knows the state distribution: `levels.step` drops the ratio of state visits, which biases the gradient by
as much as the policies differ; `levels.prefix` and `levels.sequence` keep it.
"""

from mcengine.rl.objectives.cispo import cispo as cispo
from mcengine.rl.objectives.grpo import dr_grpo as dr_grpo
from mcengine.rl.objectives.grpo import grpo as grpo
from mcengine.rl.objectives.grpo import gspo as gspo
from mcengine.rl.objectives.policy_gradient import importance_correction as importance_correction
from mcengine.rl.objectives.policy_gradient import off_policy_gradient as off_policy_gradient
from mcengine.rl.objectives.policy_gradient import policy_gradient as policy_gradient
from mcengine.rl.objectives.ppo import dual_clip as dual_clip
from mcengine.rl.objectives.ppo import ppo_clip as ppo_clip
from mcengine.rl.objectives.ppo import ppo_kl as ppo_kl
from mcengine.rl.objectives.surrogate import surrogate_loss as surrogate_loss
