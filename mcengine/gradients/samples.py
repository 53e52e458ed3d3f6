"""One sample's gradient: an integrand like any other, whose mean is the gradient of the mean.

Functions of the parameters are leaves, not static fields, so that whoever looks for tracers sees what they close over.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics, weights
from mcengine.distributions import as_distribution


class ScoreSample(eqx.Module):
    """x -> {"value": f(x), "gradient": grad f(x) + f(x) grad log p(x)}, along the parameters and at fixed x.

    Under the target its mean is grad E_p[f]; under any other law weigh it by p / q.
    """

    problem_of: Callable[[Any], Any]
    parameters: Any

    def __call__(self, x):
        # Not frozen by stop_gradient: whoever differentiates this gradient again must not meet a weight that moves.
        log_p_here = self.problem_of(self.parameters).target.log_prob(x)

        def weighted(parameters):
            problem = self.problem_of(parameters)
            return _times(problem.integrand(x), weights.log_ratio(problem.target.log_prob(x), log_p_here))

        return _with_value(weighted, self.parameters)


class Score(eqx.Module):
    """x -> grad log p(x) along the parameters of p = `law_of(parameters)`. Its mean under p is 0."""

    law_of: Callable[[Any], Any]
    parameters: Any

    def __call__(self, x):
        return jax.grad(lambda parameters: self.law_of(parameters).log_prob(x))(self.parameters)


class TargetOf(eqx.Module):
    """The target of a problem, as a function of the parameters."""

    problem_of: Callable[[Any], Any]

    def __call__(self, parameters):
        return self.problem_of(parameters).target


class PlainOf(eqx.Module):
    """The proposal of plain Monte Carlo, as a function of the parameters."""

    problem_of: Callable[[Any], Any]

    def __call__(self, parameters):
        return as_distribution(self.problem_of(parameters).plain)


class ProposalOf(eqx.Module):
    """A proposal of the user's, as one of ours, as a function of the parameters."""

    proposal_of: Callable[[Any], Any]

    def __call__(self, parameters):
        return as_distribution(self.proposal_of(parameters))


class PathwiseSample(eqx.Module):
    """v -> {"value": f(x), "gradient": of w(x) f(x) over w}, x = T(v): f, w and T all move with the parameters.

    `source_of(parameters)` is the transport T; w = p / q is left out where `weighted` is False, since T draws from p.
    """

    problem_of: Callable[[Any], Any]
    source_of: Callable[[Any], Any]
    parameters: Any
    weighted: bool = eqx.field(static=True)

    def __call__(self, v):
        _, log_w_here = self._image(v, self.parameters)

        def moved(parameters):
            f, log_w = self._image(v, parameters)
            return _times(f, weights.log_ratio(log_w, log_w_here))

        return _with_value(moved, self.parameters)

    def _image(self, v, parameters):
        """(f(x), log w(x)) of x = T(v)."""
        problem = self.problem_of(parameters)
        x, log_q = self.source_of(parameters).forward(v)
        log_w = weights.log_ratio(problem.target.log_prob(x), log_q) if self.weighted else jnp.zeros_like(log_q)
        return problem.integrand(x), log_w


class Image(eqx.Module):
    """v -> function(x), x = T(v): what is known of the sample, asked of its uniforms."""

    function: Callable[[Any], Any]
    source: Any

    def __call__(self, v):
        return self.function(self.source.forward(v)[0])


class Uniforms(eqx.Module):
    """The law of the centred uniforms that a transport is the image of, itself a transport."""

    num_uniforms: int = eqx.field(static=True)

    @property
    def support(self):
        half = jnp.full((self.num_uniforms,), 0.5)
        return -half, half

    def forward(self, v: Float[Array, " num_uniforms"]):
        return v, jnp.zeros((), v.dtype)

    def sample(self, key: PRNGKeyArray):
        return numerics.centred_uniform(numerics.random_words(key, (1, self.num_uniforms), "threefry"))

    def log_prob(self, v) -> Float[Array, ""]:
        return jnp.where(jnp.all(jnp.abs(v) <= 0.5), 0.0, -jnp.inf)


class WeightOfImage(eqx.Module):
    """The density of the uniforms whose image under T is the target: log w(v) = log p(x) - log q(x), x = T(v)."""

    target: Any
    source: Any

    def log_prob(self, v) -> Float[Array, ""]:
        x, log_q = self.source.forward(v)
        return weights.log_ratio(self.target.log_prob(x), log_q)


def _with_value(weighted: Callable[[Any], Any], parameters: Any) -> dict[str, Any]:
    """The gradient and value of (f times a weight that is 1 here, f); a Jacobian where f is an array."""
    gradient, value = jax.jacrev(weighted, has_aux=True)(parameters)
    return {"value": value, "gradient": gradient}


def _times(f: Any, log_w: Array) -> tuple[Any, Any]:
    """(w f, f) in floats: an integrand may well return integers or truth values."""
    f = jax.tree.map(lambda leaf: jnp.asarray(leaf, numerics.float_dtype()), f)
    return jax.tree.map(lambda leaf: weights.from_log(log_w) * leaf, f), f
