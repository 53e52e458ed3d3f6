"""Problems of reinforcement learning whose exact values are known.

Files: `mdp` (tabular MDPs, exact values of policies), `trajectories` (the distribution of a policy's trajectories),
`policy_value` (the value of a policy as an expectation), `advantage_sums` (control variates for it), `logged` (the MDP
and policies that come with the package), `red_light` (a bandit with two actions).
"""
