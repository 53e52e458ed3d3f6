"""Four small lessons: a tail, a fish pond, two distributions far apart, and the distance between two policies."""

import jax

import mcengine as mc
from mcengine.teaching import (
    Middle,
    Shore,
    far_apart,
    fish_pond,
    gaussian_tail,
    policy_kl,
    predicted_variance,
    shifted,
    unweighted_mean,
    where_the_fish_are,
)

N = 20_000

tail = gaussian_tail(threshold=5.0)
result = mc.estimate(jax.random.key(0), tail, shifted(tail), budget=mc.Samples(N))
print(f"P(Z >= 5) from N(5, 1): {result.value:.4e} +- {result.std_error:.1e}, exactly {tail.exact:.4e}")

pond = fish_pond()
nets = {
    "everywhere on the lake": Middle(0.0),
    "where the fish are": where_the_fish_are(pond),
    "from the shore": Shore(6.0),
}
print(f"\nMean weight of the fish, exactly {pond.exact:.3f} kg; {N:,} nets")
for name, net in nets.items():
    result = mc.estimate(jax.random.key(1), pond, net, budget=mc.Samples(N))
    print(
        f"  {name:20} unweighted {unweighted_mean(pond, net):.3f} (wrong), weighted {result.value:.3f} +- "
        f"{result.std_error:.3f}   {result.status}"
    )

apart = far_apart()
opposite = mc.Normal(1.5, 1.0)
print(
    f"\nE[tanh 2X] under N(-1.5, 1) from N(1.5, 1), exactly {apart.exact:.3f}; predicted variance per sample", end=" "
)
print(f"{predicted_variance(apart, opposite):.0f}")
for seed in range(4):
    result = mc.estimate(jax.random.key(seed), apart, opposite, budget=mc.Samples(100))
    measured = 100 * result.std_error**2
    print(
        f"  100 samples: {result.value:+.3f}, variance measured {measured:7.3g}, ESS {result.ess:4.1f}, "
        f"k-hat {result.pareto_k:.2f}, {result.status}"
    )

divergence = policy_kl()
result = mc.estimate(jax.random.key(2), divergence, budget=mc.Samples(N))
print(
    f"\nKL(N(5, 1) || N(2, 1)): {result.value:.3f} +- {result.std_error:.3f} by simulation, exactly {divergence.exact}"
)
