"""One sample's gradient: an integrand like any other, whose mean is the gradient of the mean.

Functions of the parameters are leaves, not static fields, so that a search for tracers finds the closures.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from mcengine import numerics, weights
from mcengine.distributions import Distribution, as_distribution
from mcengine.distributions.protocol import Density, Transport
from mcengine.problems.protocol import Problem

# What a gradient is taken with respect to, as the user gives it and as the integrands hold it.
GivenParameters = PyTree[float | Float[Array, "..."] | Float[np.ndarray, "..."]]
Parameters = PyTree[Float[Array, "..."]]


class ScoreSample(eqx.Module):
    """x -> {"value": f(x), "gradient": grad f(x) + f(x) grad log p(x)}, along the parameters and at fixed x.

    Under the target its mean is grad E_p[f]; samples of another distribution q need the weight p / q.
    """

    problem_of: Callable[[Any], Problem]
    parameters: Parameters

    def __call__(self, x: Any) -> dict[str, Any]:
        # Without stop_gradient: in a second derivative log_p_here must move too, so that the weight stays 1.
        log_p_here = self.problem_of(self.parameters).target.log_prob(x)

        def weighted_value(parameters: Parameters) -> tuple[Any, Any]:
            problem = self.problem_of(parameters)
            return _weigh(problem.integrand(x), weights.log_ratio(problem.target.log_prob(x), log_p_here))

        return _value_and_gradient(weighted_value, self.parameters)


class Score(eqx.Module):
    """x -> grad log p(x) along the parameters of p = `density_of(parameters)`. Its mean under p is 0."""

    density_of: Callable[[Any], Density]
    parameters: Parameters

    def __call__(self, x: Any) -> Parameters:
        return jax.grad(lambda parameters: self.density_of(parameters).log_prob(x))(self.parameters)


class TargetOf(eqx.Module):
    """The target of a problem, as a function of the parameters."""

    problem_of: Callable[[Any], Problem]

    def __call__(self, parameters: Parameters) -> Density:
        return self.problem_of(parameters).target


class PlainOf(eqx.Module):
    """The proposal of plain Monte Carlo, as a function of the parameters."""

    problem_of: Callable[[Any], Problem]

    def __call__(self, parameters: Parameters) -> Distribution:
        return as_distribution(self.problem_of(parameters).plain)


class ProposalOf(eqx.Module):
    """A user's proposal as a distribution of mcengine, as a function of the parameters."""

    proposal_of: Callable[[Any], Any]

    def __call__(self, parameters: Parameters) -> Distribution:
        return as_distribution(self.proposal_of(parameters))


class PathwiseSample(eqx.Module):
    """v -> {"value": f(x), "gradient": grad (w(x) f(x)) / w(x)}, x = T(v): f, w and T depend on the parameters.

    **Arguments:** `source_of`, from the parameters to the transport T; `is_weighted`, False if T draws from p, so that
    w = p / q is 1.
    """

    problem_of: Callable[[Any], Problem]
    source_of: Callable[[Any], Distribution]
    parameters: Parameters
    is_weighted: bool = eqx.field(static=True)

    def __call__(self, v: Float[Array, " num_uniforms"]) -> dict[str, Any]:
        _, log_w_here = self._image(v, self.parameters)

        def weighted_value(parameters: Parameters) -> tuple[Any, Any]:
            f, log_w = self._image(v, parameters)
            return _weigh(f, weights.log_ratio(log_w, log_w_here))

        return _value_and_gradient(weighted_value, self.parameters)

    def _image(self, v: Float[Array, " num_uniforms"], parameters: Parameters) -> tuple[Any, Float[Array, ""]]:
        """(f(x), log w(x)) of x = T(v)."""
        problem = self.problem_of(parameters)
        x, log_q = self.source_of(parameters).forward(v)
        log_w = weights.log_ratio(problem.target.log_prob(x), log_q) if self.is_weighted else jnp.zeros_like(log_q)
        return problem.integrand(x), log_w


class OfImage(eqx.Module):
    """v -> function(x), x = T(v): a function of the sample as a function of its uniforms."""

    function: Callable[[Any], Any]
    source: Transport

    def __call__(self, v: Float[Array, " num_uniforms"]) -> Any:
        return self.function(self.source.forward(v)[0])


class Uniforms(eqx.Module):
    """The distribution of the centred uniforms of a transport, itself a transport."""

    num_uniforms: int = eqx.field(static=True)

    @property
    def support(self) -> tuple[Float[Array, " num_uniforms"], Float[Array, " num_uniforms"]]:
        half = jnp.full((self.num_uniforms,), 0.5)
        return -half, half

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Float[Array, " num_uniforms"], Float[Array, ""]]:
        return v, jnp.zeros((), v.dtype)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " num_uniforms"]:
        return numerics.centred_uniform(numerics.random_words(key, (1, self.num_uniforms), "threefry"))

    def log_prob(self, x: Float[Array, " num_uniforms"]) -> Float[Array, ""]:
        return jnp.where(jnp.all(jnp.abs(x) <= 0.5), 0.0, -jnp.inf)


class TargetOfUniforms(eqx.Module):
    """The density of uniforms v whose images x = T(v) follow the target: log w(v) = log p(x) - log q(x)."""

    target: Density
    source: Transport

    def log_prob(self, v: Float[Array, " num_uniforms"]) -> Float[Array, ""]:
        x, log_q = self.source.forward(v)
        return weights.log_ratio(self.target.log_prob(x), log_q)


def _value_and_gradient(weighted_value: Callable[[Any], tuple[Any, Any]], parameters: Parameters) -> dict[str, Any]:
    """{"value": f, "gradient": grad (w f)} of a function (w f, f) whose w is 1 here; a Jacobian if f is an array."""
    gradient, value = jax.jacrev(weighted_value, has_aux=True)(parameters)
    return {"value": value, "gradient": gradient}


def _weigh(f: Any, log_w: Float[Array, ""]) -> tuple[Any, Any]:
    """(w f, f) in floats, since an integrand may return integers or booleans."""
    f = jax.tree.map(lambda leaf: jnp.asarray(leaf, numerics.float_dtype()), f)
    return jax.tree.map(lambda leaf: weights.from_log(log_w) * leaf, f), f
