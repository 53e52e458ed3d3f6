"""Normal vectors with correlated coordinates."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions import triangular
from mcengine.distributions.normal import LOG_SQRT_2PI
from mcengine.distributions.protocol import sample_by_transport
from mcengine.distributions.univariate import require_finite
from mcengine.numerics.values import Parameter, as_parameter


class MultivariateNormal(eqx.Module):
    """N(loc, factor factor^T) on vectors of d entries: x = loc + factor z with z ~ N(0, I).

    log_prob(x) = -|z|^2 / 2 + sum_i log inverse_ii - d log sqrt(2 pi),  z = inverse (x - loc).

    The inverse factor is computed once, here, in float64 where the factor is concrete. It is a leaf of its own:
    differentiate along what you construct from (`lambda factor: f(MultivariateNormal(loc, factor))`), not along the
    leaves of a finished object, whose factor and inverse would move apart.

    **Arguments:** `loc`, [d] or a scalar; `factor`, [d, d], lower triangular with positive diagonal, or `covariance`,
    [d, d], symmetric positive definite.

    **Raises:** `ValueError` for a matrix that is not as said, or shapes that do not fit.
    """

    loc: Float[Array, " d"]
    factor: Float[Array, "d d"]
    inverse: Float[Array, "d d"]

    def __init__(self, loc: Parameter, factor: Parameter | None = None, *, covariance: Parameter | None = None) -> None:
        if factor is not None and covariance is None:
            self.factor = as_parameter(factor)
        elif covariance is not None and factor is None:
            try:
                self.factor = triangular.cholesky(as_parameter(covariance))
            except ValueError as error:
                raise ValueError(f"MultivariateNormal: {error}") from None
        else:
            raise ValueError("MultivariateNormal: give either factor or covariance, and not both.")
        triangular.check_factor("MultivariateNormal", self.factor)
        d = self.factor.shape[0]
        loc = as_parameter(loc)
        require_finite("MultivariateNormal", "loc", loc)
        if loc.shape not in ((), (d,)):
            raise ValueError(f"MultivariateNormal: a {d} by {d} factor needs loc of shape ({d},), got {loc.shape}.")
        self.loc = jnp.broadcast_to(loc, (d,))
        self.inverse = triangular.inverse(self.factor)

    @property
    def num_uniforms(self) -> int:
        return self.loc.shape[0]

    @property
    def support(self) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        return jnp.full_like(self.loc, -jnp.inf), jnp.full_like(self.loc, jnp.inf)

    def forward(self, v: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        z = numerics.normal_quantile(v)
        return self.loc + triangular.product(self.factor, z), self._density_of_standardised(z)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " d"]:
        return sample_by_transport(self, key)

    def log_prob(self, x: ArrayLike) -> Float[Array, ""]:
        x = jnp.asarray(x)
        if x.shape != self.loc.shape:
            raise ValueError(f"MultivariateNormal: an event has shape {self.loc.shape}, got x of shape {x.shape}.")
        return self._density_of_standardised(triangular.product(self.inverse, x.astype(self.loc.dtype) - self.loc))

    def _density_of_standardised(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.inverse)))
        return log_det - jnp.sum(0.5 * z * z + LOG_SQRT_2PI)
