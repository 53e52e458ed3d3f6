"""Strict modes for every test: JAX's promotion and key-reuse checks, and mcengine's annotations checked at run time."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

from tests.house import MODULES

# The public functions of these modules, and what they hand their arguments to first, check them and raise errors in the
# user's words. The tests must see those errors, and not the type checker's.
FRONT_DOORS = {
    "mcengine.engine.batch",
    "mcengine.engine.budgets",
    "mcengine.engine.draw",
    "mcengine.engine.estimate",
    "mcengine.engine.estimate_batch",
    "mcengine.engine.from_samples",
    "mcengine.engine.options",
    "mcengine.engine.plan",
    "mcengine.engine.replicate",
    "mcengine.engine.validation",
    "mcengine.execution.settings",
    "mcengine.fitting.mixture_weights",
    "mcengine.gradients.front_door",
    "mcengine.gradients.proposals",
    "mcengine.mlmc.run",
    "mcengine.problems.conditional",
    "mcengine.problems.difference",
    "mcengine.proposals.multi_sample",
}


def checked_modules() -> list[str]:
    """Every module of mcengine but the front doors. A package's name covers all of its modules, so packages are out."""
    return [name for name, path in MODULES.items() if name not in FRONT_DOORS and path.name != "__init__.py"]


install_import_hook(checked_modules(), "beartype.beartype")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def key():
    """The seed of a test; never tuned."""
    return jax.random.key(20261121)
