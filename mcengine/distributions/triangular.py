"""Cholesky factors and inverses of triangular matrices, without LAPACK where traced.

Several independent LAPACK calls batched by `vmap` in one jit can deadlock on few cores. So concrete matrices are
factorised by NumPy (in float64), and traced ones by a loop of d steps, with d^3 operations in all.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcengine.numerics.values import concrete


def cholesky(covariance: Array) -> Float[Array, "d d"]:
    """Lower-triangular L with L L^T = covariance, [d, d], of which the symmetric part is used.

    Where traced, a matrix that is not positive definite gives NaN.

    **Raises:** `ValueError` for a concrete covariance that is not symmetric or not positive definite.
    """
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be a square matrix, got shape {covariance.shape}.")
    known = concrete(covariance)
    if known is not None:
        return jnp.asarray(_concrete_cholesky(known.astype(np.float64)), covariance.dtype)
    covariance = 0.5 * (covariance + covariance.T)
    rows = jnp.arange(covariance.shape[0])

    def column(j: Array, factor: Float[Array, "d d"]) -> Float[Array, "d d"]:
        rest = covariance[:, j] - jnp.matmul(factor, factor[j], precision=jax.lax.Precision.HIGHEST)
        return factor.at[:, j].set(jnp.where(rows >= j, rest, 0.0) / jnp.sqrt(rest[j]))

    return jax.lax.fori_loop(0, covariance.shape[0], column, jnp.zeros_like(covariance))


def inverse(factor: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The inverse of a lower-triangular matrix, by forward substitution."""
    known = concrete(factor)
    if known is not None:
        return jnp.asarray(np.tril(np.linalg.inv(known.astype(np.float64))), factor.dtype)
    unit = jnp.eye(factor.shape[0], dtype=factor.dtype)

    def row(i: Array, result: Float[Array, "d d"]) -> Float[Array, "d d"]:
        done = jnp.matmul(factor[i], result, precision=jax.lax.Precision.HIGHEST)  # row i of `result` is still 0
        return result.at[i].set((unit[i] - done) / factor[i, i])

    return jax.lax.fori_loop(0, factor.shape[0], row, jnp.zeros_like(factor))


def product(matrix: Float[Array, "d e"], vector: Float[Array, " e"]) -> Float[Array, " d"]:
    """matrix @ vector in full precision: the default of accelerators is a lower one."""
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


def check_factor(family: str, factor: Array) -> None:
    """Raise unless the matrix is square and, where it is concrete, lower triangular with a positive diagonal."""
    if factor.ndim != 2 or factor.shape[0] != factor.shape[1]:
        raise ValueError(f"{family}: factor must be a square matrix, got shape {factor.shape}.")
    known = concrete(factor)
    if known is None:
        return
    if not np.all(np.isfinite(known)):
        raise ValueError(f"{family}: factor must be finite, got {known}.")
    if np.any(np.triu(known, 1) != 0):
        raise ValueError(f"{family}: factor must be lower triangular, got {known}. Give a covariance otherwise.")
    if not np.all(np.diag(known) > 0):
        raise ValueError(f"{family}: the diagonal of factor must be positive, got {np.diag(known)}.")


def _concrete_cholesky(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    scale = np.abs(covariance).max(initial=0.0)
    if not np.allclose(covariance, covariance.T, rtol=0.0, atol=1e-5 * scale):
        raise ValueError(f"covariance must be symmetric, got {covariance}.")
    try:
        return np.linalg.cholesky(0.5 * (covariance + covariance.T))
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(covariance).min()
        raise ValueError(
            f"covariance must be positive definite; its smallest eigenvalue is {smallest:.3g}: {covariance}."
        ) from None
