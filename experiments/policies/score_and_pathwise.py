"""Score and pathwise gradients of E[f(x)], x ~ N(theta, 1): pathwise is better for smooth f, score otherwise."""

import jax
import jax.numpy as jnp
import pandas as pd
from matplotlib.axes import Axes

import mcengine as mc

SAMPLES = 100_000
FREQUENCIES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
THETA = 0.5


def slope(form: str, frequency: float):
    """d/dtheta E[sin(frequency x)] in one form, with its error bar."""

    def problem(theta: jax.Array) -> mc.Expectation:
        return mc.Expectation(Wave(jnp.asarray(frequency)), mc.Normal(theta, 1.0))

    key = jax.random.key(5)
    return mc.estimate_gradient(key, problem, THETA, form=form, budget=mc.Samples(SAMPLES))


class Wave:
    """sin(frequency x)."""

    def __init__(self, frequency: jax.Array):
        self.frequency = frequency

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sin(self.frequency * x)


jax.tree_util.register_pytree_node(Wave, lambda w: ((w.frequency,), None), lambda _, leaves: Wave(*leaves))


def run() -> pd.DataFrame:
    """One row for each frequency: errors of one sample's gradient, and how far each is from the exact one."""
    rows = []
    for frequency in FREQUENCIES:
        # E[sin(k x)] = sin(k theta) exp(-k^2 / 2).
        exact = frequency * float(jnp.cos(frequency * THETA) * jnp.exp(-0.5 * frequency**2))
        row = {"frequency": frequency, "exact": exact}
        for form in ("score", "pathwise"):
            result = slope(form, frequency)
            error = float(result.std_error["gradient"])
            row[f"{form}, deviation"] = error * SAMPLES**0.5
            row[f"{form}, z"] = (float(result.value["gradient"]) - exact) / error
        row["variance, score / pathwise"] = (row["score, deviation"] / row["pathwise, deviation"]) ** 2
        rows.append(row)
    return pd.DataFrame(rows)


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """Deviations against the frequency."""
    for colour, form in zip(("#D55E00", "#0072B2"), ("score", "pathwise"), strict=True):
        axis.loglog(frame["frequency"], frame[f"{form}, deviation"], "o-", color=colour, label=form)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("frequency k of f(x) = sin(k x)")
    axis.set_ylabel("deviation of one sample's gradient")
    axis.legend(fontsize=8, frameon=False)
