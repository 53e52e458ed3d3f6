"""Policy objectives as losses. Most are choices from one family, `surrogate_loss`: a level, a transform, a form and a
reduction.

    loss = -reduction(form(log w, T(log w), A, log pi)),  log w = level(log pi - log mu).

The arguments that the objectives share:

- `log_pi`, [..., T]: log-probabilities of the actions taken under the policy that learns; time, or tokens, last.
- `log_mu`, [..., T]: the same under the policy that took the actions; held fixed.
- `advantages` (or `signal`), [..., T], or [..., 1] where a sequence has one; held fixed.
- `mask`, [..., T], booleans: False for padding, whose entries may hold anything.
- `level`, `transform`, `form`, `reduction`: from the modules of these names.
- `discrete`: whether actions are discrete, so that log-probabilities are checked to be at most 0.

A loss is minus the quantity that is maximised, and at least float32. All objectives raise `ValueError` naming the
argument for shapes that differ, arrays without steps, a mask that is False everywhere, NaN, a `log_mu` of -inf (the
action taken had probability 0), and log-probabilities above 0 of discrete actions. Inside `jit` only shapes are
checked; a `log_mu` of -inf then makes the loss NaN.

No objective knows the state distribution: `levels.step` drops the ratio of state visits, which biases the gradient if
the policies differ; `levels.prefix` and `levels.sequence` keep it.

**Adding an objective:**

1. A file here with a function of `log_pi`, `log_mu` and `advantages`, usually a few lines that call `surrogate_loss`.
   A new level, transform, form or reduction is a function (or class) in the module of that name.
2. Its export below.
3. Its line in `OBJECTIVES` of `tests/rl/objectives/cases.py`: the objective beside its formula in NumPy. The tests of
   `tests/rl/objectives/test_every_objective.py` then check its value, gradient, padding, extreme ratios and errors.
4. Its name in the row "policies" of the README.

Objectives are called from training loops, so they have no YAML file.
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
