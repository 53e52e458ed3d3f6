"""Many independent estimates of one problem, compiled once for all numbers."""

import equinox as eqx
import jax

import mcengine as mc


@eqx.filter_jit
def replicate(keys, problem, proposal=None, *, num_samples, weighting=mc.weighting.Raw()):
    """One estimate from `num_samples` for each of the keys."""

    def one(key):
        return mc.estimate(key, problem, proposal, budget=mc.Samples(num_samples), weighting=weighting)

    return jax.vmap(one)(keys)


def replicates(seed, problem, proposal=None, *, num_samples=2000, runs=400, weighting=mc.weighting.Raw()):
    """`runs` estimates from one seed."""
    keys = jax.random.split(jax.random.key(seed), runs)
    return replicate(keys, problem, proposal, num_samples=num_samples, weighting=weighting)
