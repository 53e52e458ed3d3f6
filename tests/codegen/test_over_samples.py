"""A function of one sample applied along the last axis: values and gradients of `vmap` without its transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import mcengine as mc
from mcengine import numerics

LOC = jnp.asarray([0.5, -1.0, 2.0])
MATRIX = jnp.arange(9.0).reshape(3, 3) / 7.0
X = jnp.asarray(np.random.default_rng(0).standard_normal((3, 300)), jnp.float32)


@jax.custom_jvp
def guarded_log(x):
    return jnp.log(jnp.abs(x))


@guarded_log.defjvp
def _(primals, tangents):
    return guarded_log(*primals), 2.0 * tangents[0] / primals[0]  # twice the true one, to see that it is used


FUNCTIONS = {
    "sum of squares around a vector": lambda x: jnp.sum(((x - LOC) / 2.0) ** 2),
    "largest, smallest and product": lambda x: (jnp.max(x), jnp.min(x - LOC), jnp.prod(x)),
    "log of a sum of exponentials": lambda x: jax.nn.logsumexp(x * LOC),
    "a matrix": lambda x: MATRIX @ x,
    "norms of the rows of a matrix": lambda x: jnp.sum(MATRIX * x[None, :], axis=1),
    "an index and a slice": lambda x: {"first": x[0], "rest": x[1:]},
    "a number that is the same for all samples": lambda x: (jnp.ones(2), x[0]),
    "a choice": lambda x: jnp.where(x[0] > 0, x, LOC),
    "integers": lambda x: jnp.sum(jnp.floor(x).astype(jnp.int32)),
    "sorted": jnp.sort,
    "a custom derivative": lambda x: jnp.sum(guarded_log(x)),
    "a loop": lambda x: lax.scan(lambda c, y: (c * 0.5 + y, c), jnp.zeros(()), x)[0],
    "a condition": lambda x: lax.cond(x[0] > 0, lambda y: y, lambda y: -y, x[1]),
    "a jit inside": lambda x: jax.jit(lambda y: jnp.sum(y * LOC))(x),
    "many entries": lambda x: jnp.sum(jnp.outer(x, jnp.arange(50.0) / 1000)),
    "a density": mc.Normal(LOC, jnp.asarray([1.0, 2.0, 0.5])).log_prob,
    "a mixture's density": mc.Mixture([mc.Normal(LOC, 1.0), mc.Normal(-LOC, 2.0)], [0.3, 0.7]).log_prob,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_vmap(name):
    function = FUNCTIONS[name]
    ours, theirs = numerics.over_samples(function), jax.vmap(function, in_axes=-1, out_axes=-1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), ours(X), theirs(X))

    def total(of):
        return lambda x: sum(jnp.sum(jnp.sin(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(of(x)))

    gradients = (jax.jit(jax.grad(total(of)))(X) for of in (ours, theirs))
    np.testing.assert_allclose(*gradients, rtol=2e-4, atol=1e-4)


def test_there_are_no_transposes_and_no_reductions():
    def density(x):
        return mc.Normal(LOC, 2.0).log_prob(x) - 0.5 * jnp.sum((x - LOC) ** 2)

    def names(function):
        found = set()

        def walk(jaxpr):
            for equation in jaxpr.eqns:
                found.add(equation.primitive.name)
                for value in equation.params.values():
                    if hasattr(value, "jaxpr"):
                        walk(value.jaxpr)

        walk(jax.make_jaxpr(function)(X).jaxpr)
        return found

    assert {"transpose", "reduce_sum"} <= names(jax.vmap(density, in_axes=-1, out_axes=-1))
    assert not {"transpose", "reduce_sum"} & names(numerics.over_samples(density))


def test_inside_vmap_and_over_closed_over_tracers():
    def run(loc):
        return numerics.over_samples(lambda x: jnp.sum((x - loc) ** 2))(X)

    locs = jnp.stack([LOC, 2 * LOC])
    wanted = [np.sum((np.asarray(X) - np.asarray(loc)[:, None]) ** 2, axis=0) for loc in locs]
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(locs), wanted, rtol=1e-5)
