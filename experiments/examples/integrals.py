"""The area under a peaked curve: uniform sampling against going where the curve is high."""

import jax

import mcengine as mc
from mcengine.integrals import peak_proposal, peaked_curve

problem = peaked_curve(sharpness=50.0, peak=0.7, floor=0.1)
methods = {
    "uniform": None,
    "at the peak, and everywhere a little": peak_proposal(problem, uniform_share=0.4),
    "only at the peak": peak_proposal(problem),
}

print(f"Area under exp(-50 (x - 0.7)^2) + 0.1 on [0, 1]; exact {problem.exact:.6f}")
for name, proposal in methods.items():
    result = mc.estimate(jax.random.key(0), problem, proposal, budget=mc.Samples(100_000))
    print(f"  {name:38} {result.value:.6f} +- {result.std_error:.6f}   {result.status.sentence}")
