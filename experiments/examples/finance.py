"""How likely is it that the S&P 500 loses a fifth, or half, in ten days? A model of real prices, sampled four ways."""

import jax

import mcengine as mc
from mcengine.finance import fitted_model, index_fall, inflated, one_big_jump, shifted

NUM_SAMPLES = 100_000
METHODS = {
    "plain": lambda problem: None,
    "inflated volatility": inflated,
    "shifted mean": shifted,
    "one big jump": one_big_jump,
}

fit = fitted_model()  # of the file inside the `arch` wheel; fitted_model("my.csv") reads yours
print(f"Daily log returns: Student-t, df {fit.df:.2f}, mean {fit.loc:.5f}, scale {fit.scale:.5f}")
for fall in (0.2, 0.5):
    problem = index_fall(fall, days=10)
    p = float(problem.exact)
    print(f"\nP(a fall of {fall:.0%} or more in ten days) = {p:.4g} exactly; {NUM_SAMPLES:,} samples")
    for name, build in METHODS.items():
        result = mc.estimate(jax.random.key(0), problem, build(problem), budget=mc.Samples(NUM_SAMPLES))
        low, high = result.interval()
        # A ratio from weights that are not to be trusted is itself not to be trusted.
        ratio = p * (1 - p) / (NUM_SAMPLES * result.std_error**2)
        gain = f"variance ratio {ratio:8.3g}" if result.ok else f"status {result.status}"
        print(f"  {name:20} {result.value:.3e} in [{low:.2e}, {high:.2e}]   {gain}")
