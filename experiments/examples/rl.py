"""What is a new policy worth? From its own trajectories, and from those of an old policy."""

import jax

import mcengine as mc
from mcengine.rl import behaviour_trajectories, driver, per_decision_tabular_mdp, red_light, tabular_mdp

key = jax.random.key(0)

careful = red_light(brake=0.99)
result = mc.estimate(key, careful, driver(brake=0.8), budget=mc.Samples(10_000))
print(f"Red light: a careful driver's reward from a careless one's data {result.value:.4f} +- {result.std_error:.4f}")
print(f"  exact {careful.exact:.4f}")

problem = tabular_mdp()
old_policy = behaviour_trajectories(problem)
methods = {
    "the new policy itself": (problem, None, mc.weighting.Raw()),
    "old data, whole trajectories (IS)": (problem, old_policy, mc.weighting.Raw()),
    "the same, self-normalised (WIS)": (problem, old_policy, mc.weighting.SelfNormalised()),
    "old data, per decision (PDIS)": (per_decision_tabular_mdp(), None, mc.weighting.Raw()),
}

print(f"Five states, twenty steps: the discounted return of the new policy; exact {problem.exact:.4f}")
for name, (what, proposal, weighting) in methods.items():
    result = mc.estimate(key, what, proposal, budget=mc.Samples(20_000), weighting=weighting)
    print(f"  {name:34} {result.value:8.4f} +- {result.std_error:.4f}   {result.status.sentence}")
