"""A transport made of the user's own functions."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import sample_by_transport


class Pushforward(eqx.Module):
    """The image of the unit cube under the user's `function`, whose density the user knows.

    forward(v) = (function(v), log_density(function(v))).

    Functions are static: a new lambda is a new compilation. Put parameters into an `equinox.Module` or a
    `jax.tree_util.Partial`.

    **Arguments:** `function`, from `num_uniforms` uniforms, [num_uniforms], to a sample; `log_density`, from any x of
    the event's structure to log q(x), -inf off the support; `uniforms`, the argument of the function: "centred" ones
    (see `mcengine.numerics`; both tails are resolved) or "plain" numbers strictly between 0 and 1, which in float32
    come no closer to 1 than 6e-8; `support`, a pair (lower, upper) where it is known.
    """

    function: Callable[[Float[Array, " num_uniforms"]], Any]
    log_density: Callable[[Any], Float[Array, ""]]
    num_uniforms: int = eqx.field(static=True)
    uniforms: str = eqx.field(static=True, default="centred")
    support: Any = (-jnp.inf, jnp.inf)

    def __check_init__(self):
        if not isinstance(self.num_uniforms, int) or self.num_uniforms < 1:
            raise ValueError(f"Pushforward: num_uniforms must be a positive integer, got {self.num_uniforms!r}.")
        if self.uniforms not in ("centred", "plain"):
            raise ValueError(f'Pushforward: uniforms must be "centred" or "plain", got {self.uniforms!r}.')

    def forward(self, v: Float[Array, " num_uniforms"]) -> tuple[Any, Float[Array, ""]]:
        if self.uniforms == "plain":
            # 1 + v rounds to 1 for the smallest v, of which log(1 - u) would be -inf.
            v = jnp.minimum(numerics.to_unit(v), 1.0 - jnp.finfo(v.dtype).epsneg)
        x = self.function(v)
        return x, self.log_density(x)

    def sample(self, key: PRNGKeyArray) -> Any:
        return sample_by_transport(self, key)

    def log_prob(self, x: Any) -> Float[Array, ""]:
        return self.log_density(x)
