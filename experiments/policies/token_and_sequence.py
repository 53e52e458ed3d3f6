"""Token, prefix, sequence and length-mean ratios: bias and standard deviation against length, by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mcengine.rl import levels, objectives, reductions
from mcengine.rl.objectives.levels import Level

VOCABULARY, LENGTHS, DISTANCE = 3, (1, 2, 4, 6, 8), 0.5
LEVELS = {
    "token": levels.step,
    "prefix": levels.prefix,
    "sequence": levels.sequence,
    "length mean": levels.length_mean,
}


def of_length(length: int) -> list[dict]:
    """Bias and deviation over all sequences, each with its exact probability under the behaviour policy."""
    keys = jax.random.split(jax.random.key(length), 3)
    tokens = np.asarray(list(itertools.product(range(VOCABULARY), repeat=length)))
    before = np.concatenate([np.full((len(tokens), 1), VOCABULARY), tokens[:, :-1]], axis=1)
    # The next token depends on the last one: otherwise the ratio of states, which token ratios drop, would be 1.
    shape = (VOCABULARY + 1, VOCABULARY)
    logits = jax.random.normal(keys[0], shape)
    old = logits + DISTANCE * jax.random.normal(keys[1], logits.shape)
    # A reward at every token, so that prefix ratios differ from sequence ratios.
    rewards = jax.random.normal(keys[2], shape)[before, tokens]

    def log_probabilities(x: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(x)[before, tokens]

    def exact_return(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.exp(jnp.sum(log_probabilities(x), axis=1)) * jnp.sum(rewards, axis=1))

    log_mu, exact = log_probabilities(old), jax.grad(exact_return)(logits)
    probabilities = np.asarray(jnp.exp(jnp.sum(log_mu, axis=1)), np.float64)
    rows = []
    for name, level in LEVELS.items():
        one_a_sequence = level in (levels.sequence, levels.length_mean)
        signal = jnp.sum(rewards, axis=1, keepdims=True) if one_a_sequence or name == "token" else rewards

        def loss(x: jax.Array, i: jax.Array, level: Level = level, signal: jax.Array = signal) -> jax.Array:
            log_pi = log_probabilities(x)[i][None]
            return objectives.surrogate_loss(
                log_pi, log_mu[i][None], signal[i][None], level=level, reduction=reductions.sequence_sum
            )

        by_sequence = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(logits, jnp.arange(len(tokens)))
        gradients = -np.asarray(by_sequence, np.float64)
        mean = np.tensordot(probabilities, gradients, 1)
        variance = np.sum(np.tensordot(probabilities, (gradients - mean) ** 2, 1))
        rows.append({"ratios": name, "length": length, "bias / gradient": _norm(mean - exact) / _norm(exact),
                     "deviation / gradient": np.sqrt(variance) / _norm(exact)})  # fmt: skip
    return rows


def _norm(x: np.ndarray | jax.Array) -> float:
    return float(np.linalg.norm(np.asarray(x, np.float64)))


def run() -> pd.DataFrame:
    """One row for each level and length."""
    return pd.DataFrame([row for length in LENGTHS for row in of_length(length)])


def draw(axis: Axes, frame: pd.DataFrame) -> None:
    """Deviation and bias against the length."""
    colours = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")
    for colour, (name, rows) in zip(colours, frame.groupby("ratios", sort=False), strict=True):
        axis.semilogy(rows["length"], rows["deviation / gradient"], "o-", color=colour, label=f"{name}, deviation")
        biased = rows.loc[rows["bias / gradient"] > 1e-5]
        if len(biased):
            label = f"{name}, bias"
            axis.semilogy(biased["length"], biased["bias / gradient"], "o:", color=colour, mfc="white", label=label)
    axis.set_xlabel("tokens in a sequence")
    axis.set_ylabel("relative to the exact gradient")
    axis.legend(fontsize=8, frameon=False)
