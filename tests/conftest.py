"""Strict modes for every test: JAX's promotion and key-reuse checks, and mcengine's shape annotations at run time."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("mcengine", "beartype.beartype")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def key():
    """The seed of a test; never tuned."""
    return jax.random.key(20261121)
