"""Two Gaussian policies: estimates about the new one from actions of the old one, and their divergence."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from mcengine.distributions import Distribution, Normal, as_distribution
from mcengine.numerics.values import Scalar
from mcengine.problems.expectation import Expectation


def action(x: Float[Array, ""]) -> Float[Array, ""]:
    """The action itself; its mean is that of the policy."""
    return x


class SelfInformation(eqx.Module):
    """-log p(x) in nats, the self-information of the action x. Its mean under p is the entropy."""

    policy: Distribution = eqx.field(converter=as_distribution)

    def __call__(self, x: Float[Array, ""]) -> Float[Array, ""]:
        return -self.policy.log_prob(x)


class LogDensityDifference(eqx.Module):
    """log p(x) - log q(x), the log-likelihood ratio of one action. Its mean under p is KL(p || q)."""

    new: Distribution = eqx.field(converter=as_distribution)
    old: Distribution = eqx.field(converter=as_distribution)

    def __call__(self, x: Float[Array, ""]) -> Float[Array, ""]:
        return self.new.log_prob(x) - self.old.log_prob(x)


def policy_mean(loc: Scalar = 5.0, scale: Scalar = 1.0) -> Expectation:
    """Mean action of the new policy N(loc, scale^2)."""
    return Expectation(action, _policy("policy_mean", loc, scale), exact=loc if _are_known(loc, scale) else None)


def policy_kl(loc: Scalar = 5.0, scale: Scalar = 1.0, old_loc: Scalar = 2.0, old_scale: Scalar = 1.0) -> Expectation:
    """KL(N(loc, scale^2) || N(old_loc, old_scale^2)) = E_p[log p - log q]; 4.5 for N(5, 1) against N(2, 1).

    The exact value is log(s_q/s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2.
    """
    new, old = _policy("policy_kl", loc, scale), _policy("policy_kl", old_loc, old_scale)
    exact = None
    if _are_known(loc, scale, old_loc, old_scale):
        exact = math.log(old_scale / scale) + (scale**2 + (loc - old_loc) ** 2) / (2 * old_scale**2) - 0.5
    return Expectation(LogDensityDifference(new, old), new, exact=exact)


def policy_entropy(loc: Scalar = 5.0, scale: Scalar = 1.0) -> Expectation:
    """Entropy of N(loc, scale^2) in nats, the mean self-information; exactly log(scale sqrt(2 pi e))."""
    policy = _policy("policy_entropy", loc, scale)
    exact = math.log(scale) + 0.5 * math.log(2 * math.pi * math.e) if _are_known(scale) else None
    return Expectation(SelfInformation(policy), policy, exact=exact)


def _are_known(*values: Scalar) -> bool:
    """Whether none of the values is traced, as inside jit, vmap and grad: then there is an exact value."""
    return not any(isinstance(value, Tracer) for value in values)


def _policy(name: str, loc: Scalar, scale: Scalar) -> Normal:
    if _are_known(scale) and not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"{name}: a policy's scale must be positive and finite, got {scale}.")
    return Normal(loc, scale)


def halfway(problem: Expectation, old_loc: Scalar = 2.0) -> Normal:
    """The policy with the scale of the new policy and a mean halfway between the two policies.

    **Raises:** `TypeError` for a target that is not a `Normal`.
    """
    target = problem.target
    if not isinstance(target, Normal):
        raise TypeError(f"halfway: the target must be a Normal, not a {type(target).__name__}.")
    return Normal(0.5 * (target.loc + jnp.asarray(old_loc, target.loc.dtype)), target.scale)
