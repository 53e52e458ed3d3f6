"""Distributions of other libraries: numpyro, distrax, TensorFlow Probability, flowjax.

None of these is imported: the module of an object's class tells which library it is from.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import Density, Distribution, missing_methods

LIBRARIES = ("numpyro", "distrax", "tensorflow_probability", "flowjax")


def as_distribution(obj: Any) -> Distribution:
    """`obj` as an object with `sample(key)`, which draws one sample, and `log_prob(x)`.

    Our distributions, and any object written for one sample, are returned unchanged. Known families of numpyro,
    distrax, TensorFlow Probability (JAX substrate) and flowjax become ours, which are transports and exact in both
    tails; other objects of these libraries are wrapped in `Foreign`.

    **Raises:** `TypeError` for an object that is not a distribution; `ValueError` for a batch of distributions or a
    conditional one.
    """
    return _convert(obj, ("sample", "log_prob"))


def as_density(obj: Any) -> Density:
    """`obj` as `as_distribution` returns it; an object with `log_prob` alone is accepted too.

    For a target known by its density alone: it weighs the samples of a proposal.
    """
    return _convert(obj, ("log_prob",))


def family_name(distribution: Density) -> str:
    """The name of a distribution in messages: its class, or the class of the foreign object that it wraps."""
    return repr(distribution.template) if isinstance(distribution, Foreign) else type(distribution).__name__


def _convert(obj: Any, needed: tuple[str, ...]) -> Any:
    if isinstance(obj, type):
        raise TypeError(
            f"{obj.__name__} is a class, not a distribution: make an object of it, as in {obj.__name__}(...)."
        )
    lacking = missing_methods(obj, needed)
    if lacking:
        raise TypeError(
            f"{type(obj).__name__} is not a distribution: it has no method {' and no method '.join(lacking)}. "
            "A distribution has sample(key), giving one sample, and log_prob(x), giving a scalar."
        )
    library = library_of(obj)
    if library is None:
        if not missing_methods(obj, ["sample"]):
            _require_one_key(obj)
        return obj
    with relaxed():
        _require_one_distribution(obj)
        converted = (convert(library, obj) for convert in _CONVERTERS)
        known = next((distribution for distribution in converted if distribution is not None), None)
    return Foreign(obj) if known is None else known


# Functions from (library, object) to one of our families, or None; those families import this module.
_CONVERTERS: list[Callable[[str, Any], Distribution | None]] = []


def register_converter(convert: Callable[[str, Any], Distribution | None]) -> None:
    """Let `as_distribution` ask `convert(library, obj)` for one of our families before it wraps an object."""
    _CONVERTERS.append(convert)


def library_of(obj: Any) -> str | None:
    """The name of the library that the object's class, or a parent of it, is defined in; None for ours and yours."""
    for parent in type(obj).__mro__:
        root = parent.__module__.partition(".")[0]
        if root in LIBRARIES:
            return root
    return None


class Foreign(eqx.Module):
    """An object of another library with the members of our protocol, made by `as_distribution`. Not a transport.

    Its numbers are leaves, in the order of their names. The library's own order would not do: numpyro's changes with
    the hash seed of the process, so that saved or compiled objects would not match. All else is static and compared by
    value. It can be pickled if the object can. Off the support `log_prob` is that of the library, which may be finite,
    unless it is numpyro, which states its support.
    """

    parameters: dict[str, Array]
    template: "_Template" = eqx.field(static=True)

    def __init__(self, obj: Any) -> None:
        leaves = _named_leaves(obj)
        self.parameters = {name: _as_array(leaf) for name, leaf in sorted(leaves.items()) if _is_number(leaf)}
        self.template = _Template(obj, leaves)

    @property
    def support(self) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        with relaxed():
            lower, upper = _bounds(self._original())
        return jnp.asarray(lower, numerics.float_dtype()), jnp.asarray(upper, numerics.float_dtype())

    def sample(self, key: PRNGKeyArray) -> Any:
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int) -> Any:
        return self._draw(key, (num,))

    def log_prob(self, x: Any) -> Float[Array, ""]:
        with relaxed():
            original = self._original()
            constraint = _box_constraint(original)
            if constraint is None:
                return jnp.asarray(original.log_prob(x), numerics.float_dtype())
            # Off the support log_prob is evaluated at a point of the support, so that value and gradient are not NaN.
            inside = constraint(x)
            safe = jnp.where(inside, x, constraint.feasible_like(x))
            return jnp.where(inside, jnp.asarray(original.log_prob(safe), numerics.float_dtype()), -jnp.inf)

    def _draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Any:
        with relaxed():
            original = self._original()
            if self.template.library in ("distrax", "tensorflow_probability"):
                return original.sample(sample_shape=shape, seed=key)
            return original.sample(key, shape)

    def _original(self) -> Any:
        return self.template.fill(self.parameters)


@contextlib.contextmanager
def relaxed() -> Iterator[None]:
    """Run another library's code without JAX's strict modes, which it may violate, and without its warnings."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.debug_key_reuse(False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


class _Template:
    """A foreign object without its numbers. Two are equal if their structure and static leaves are."""

    def __init__(self, obj: Any, leaves: dict[str, Any]) -> None:
        self.library = library_of(obj)
        self.static = {name: leaf for name, leaf in leaves.items() if not _is_number(leaf)}
        # Ones instead of the numbers: these may be tracers, and must not be kept alive or compared.
        ones = [np.ones(np.shape(leaf), np.float32) if _is_number(leaf) else leaf for leaf in leaves.values()]
        self.hollow = jax.tree.unflatten(jax.tree.structure(obj), ones)

    def fill(self, parameters: dict[str, Array]) -> Any:
        # The names are found again, since in another process the library's own order may differ.
        names = list(_named_leaves(self.hollow))
        leaves = [parameters[name] if name in parameters else self.static[name] for name in names]
        return jax.tree.unflatten(jax.tree.structure(self.hollow), leaves)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Template) or self.library != other.library or list(self.static) != list(other.static):
            return False
        same_structure = jax.tree.structure(self.hollow) == jax.tree.structure(other.hollow)
        return bool(same_structure) and all(_same(self.static[name], other.static[name]) for name in self.static)

    def __hash__(self) -> int:
        return hash((self.library, type(self.hollow).__name__, tuple(self.static)))

    def __repr__(self) -> str:
        return f"{self.library}.{type(self.hollow).__name__}"


def _named_leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves in JAX's own order, each under a name made of the fields that lead to it."""
    children = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda child: child is not node)[0]
    if len(children) == 1 and children[0][0] == ():
        return {prefix: node}
    names = [jax.tree_util.keystr(path) for path, _ in children]
    if hasattr(type(node), "gather_pytree_data_fields"):  # numpyro, whose nodes carry no names
        fields = [f".{name}" for name in type(node).gather_pytree_data_fields()]
        names = fields if len(fields) == len(names) else names
    leaves = {}
    for name, (_, child) in zip(names, children, strict=True):
        if child is not None:
            leaves |= _named_leaves(child, prefix + name)
    return leaves


def _is_number(leaf: Any) -> bool:
    # Python integers stay static: they are counts and sizes.
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float)


def _as_array(leaf: ArrayLike) -> Array:
    if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    array = jnp.asarray(leaf)
    return array.astype(numerics.float_dtype()) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _same(a: Any, b: Any) -> bool:
    return a is b or bool(a == b)


def _box_constraint(obj: Any) -> Any:
    """The object's own test of its support, if it consists of inequalities; else None.

    Equalities (simplex, sphere, correlation matrix) are left out: rounded samples violate them.
    """
    constraint = getattr(obj, "support", None)
    inner = getattr(constraint, "base_constraint", constraint)
    has_bounds = hasattr(inner, "lower_bound") or hasattr(inner, "upper_bound") or type(inner).__name__ == "Boolean"
    return constraint if has_bounds and hasattr(constraint, "feasible_like") else None


def _bounds(obj: Any) -> tuple[ArrayLike, ArrayLike]:
    constraint = _box_constraint(obj)
    inner = getattr(constraint, "base_constraint", constraint)
    if type(inner).__name__ == "Boolean":
        return 0.0, 1.0
    return getattr(inner, "lower_bound", -jnp.inf), getattr(inner, "upper_bound", jnp.inf)


def _require_one_distribution(obj: Any) -> None:
    family = type(obj).__name__
    if getattr(obj, "cond_shape", None) is not None:
        raise ValueError(
            f"{family} is conditional (cond_shape {obj.cond_shape}): mcengine has no condition to give it."
        )
    batch_shape = getattr(obj, "batch_shape", ())
    sizes = jax.tree.leaves(batch_shape if isinstance(batch_shape, dict) else tuple(batch_shape))
    if sizes:
        raise ValueError(
            f"{family} has batch_shape {tuple(sizes)}: it is a batch of distributions, and mcengine wants one. Make "
            "the batch part of the event (numpyro: .to_event(), distrax and TFP: Independent), or vmap over it."
        )


def _require_one_key(obj: Any) -> None:
    try:
        parameters = inspect.signature(obj.sample).parameters.values()
    except (TypeError, ValueError):
        return
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if len(required) > 1 or not positional:
        raise TypeError(
            f"{type(obj).__name__}.sample must be callable as sample(key), giving one sample; it asks for "
            f"{', '.join(required) or 'no key'}."
        )
