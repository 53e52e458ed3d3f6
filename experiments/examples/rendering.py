"""Light on a plane under a lamp: directions at random, by the cosine, and towards the lamp."""

import jax

import mcengine as mc
from mcengine.rendering import CosineHemisphere, plane_light, towards_lamp

problem = plane_light(x=0.5, y=0.0)
methods = {
    "uniform over the hemisphere": None,
    "by the cosine": CosineHemisphere(),
    "towards the lamp": towards_lamp(problem),
}

print(f"Radiance of the plane half a metre beside the lamp; exact {problem.exact:.6f}")
for name, proposal in methods.items():
    result = mc.estimate(jax.random.key(0), problem, proposal, budget=mc.Samples(100_000))
    low, high = result.interval(0.95)
    print(f"  {name:28} {result.value:.5f} in [{low:.5f}, {high:.5f}]   {result.num_hits:.0f} rays met the lamp")
