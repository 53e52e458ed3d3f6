"""The door for distributions of other libraries.

None of them is imported here: an object's class says where it is from.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mcengine import numerics
from mcengine.distributions.protocol import Distribution

LIBRARIES = ("numpyro", "distrax", "tensorflow_probability", "flowjax")


def as_distribution(obj: Any) -> Distribution:
    """`obj` as something that draws one sample with `sample(key)` and has `log_prob(x)`.

    Ours, and any object written for one sample, pass through unchanged. Of numpyro, distrax, TensorFlow Probability
    (JAX substrate) and flowjax, known families become ours, with both tails exact and quasi-random points possible; the
    rest are wrapped in `Foreign`.

    **Raises:** `TypeError` for what is no distribution; `ValueError` for a batch of distributions or a conditional one.
    """
    return _through_the_door(obj, ("sample", "log_prob"))


def as_density(obj: Any) -> Any:
    """`obj` as `as_distribution` returns it, except that `log_prob` will do where there is no `sample`.

    For a target known by its density alone: it is weighed by, and the samples come from a proposal.
    """
    return _through_the_door(obj, ("log_prob",))


def family_name(distribution: Any) -> str:
    """What to call a distribution in a message: its class, or that of the foreign object behind it."""
    return repr(distribution.template) if isinstance(distribution, Foreign) else type(distribution).__name__


def _through_the_door(obj: Any, needed: tuple[str, ...]) -> Any:
    if isinstance(obj, type):
        raise TypeError(
            f"{obj.__name__} is a class, not a distribution: make an object of it, as in {obj.__name__}(...)."
        )
    lacking = [name for name in needed if not callable(getattr(obj, name, None))]
    if lacking:
        raise TypeError(
            f"{type(obj).__name__} is no distribution: it has no method {' and no method '.join(lacking)}. "
            "A distribution has sample(key), giving one sample, and log_prob(x), giving a scalar."
        )
    library = library_of(obj)
    if library is None:
        if callable(getattr(obj, "sample", None)):
            _require_one_key(obj)
        return obj
    with relaxed():
        _require_one_law(obj)
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
    """An object of another library behind our protocol; see `as_distribution`, which makes it where it must.

    Its numbers are leaves, in the order of their names: numpyro's own order changes with the hash seed of the process,
    and would upset whatever is saved, compiled or sent. All else is static and compared by value. Not a transport.
    Lies where the library's `log_prob` does: only numpyro says where the support ends. Pickles where the object does.
    """

    parameters: dict[str, Array]
    template: "_Template" = eqx.field(static=True)

    def __init__(self, obj):
        leaves = _named_leaves(obj)
        self.parameters = {name: _as_array(leaf) for name, leaf in sorted(leaves.items()) if _is_number(leaf)}
        self.template = _Template(obj, leaves)

    @property
    def support(self):
        with relaxed():
            lower, upper = _bounds(self._original())
        return jnp.asarray(lower, numerics.float_dtype()), jnp.asarray(upper, numerics.float_dtype())

    def sample(self, key: PRNGKeyArray):
        return self._draw(key, ())

    def sample_many(self, key: PRNGKeyArray, num: int):
        return self._draw(key, (num,))

    def log_prob(self, x) -> Float[Array, ""]:
        with relaxed():
            original = self._original()
            constraint = _box_constraint(original)
            if constraint is None:
                return jnp.asarray(original.log_prob(x), numerics.float_dtype())
            # Off the support log_prob is asked about a point of it, so that neither value nor gradient is NaN.
            inside = constraint(x)
            safe = jnp.where(inside, x, constraint.feasible_like(x))
            return jnp.where(inside, jnp.asarray(original.log_prob(safe), numerics.float_dtype()), -jnp.inf)

    def _draw(self, key, shape):
        with relaxed():
            original = self._original()
            if self.template.library in ("distrax", "tensorflow_probability"):
                return original.sample(sample_shape=shape, seed=key)
            return original.sample(key, shape)

    def _original(self):
        return self.template.fill(self.parameters)


@contextlib.contextmanager
def relaxed():
    """Run another library's code, which need not stand our strict modes, and often warns."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.debug_key_reuse(False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


class _Template:
    """What is left of a foreign object without its numbers. Equal where structure and static leaves are equal."""

    def __init__(self, obj, leaves):
        self.library = library_of(obj)
        self.static = {name: leaf for name, leaf in leaves.items() if not _is_number(leaf)}
        # Ones instead of the numbers: these may be tracers, and must not be kept alive or compared.
        ones = [np.ones(np.shape(leaf), np.float32) if _is_number(leaf) else leaf for leaf in leaves.values()]
        self.hollow = jax.tree.unflatten(jax.tree.structure(obj), ones)

    def fill(self, parameters):
        # Names are found anew, since after a journey to another process the library's own order may differ.
        names = list(_named_leaves(self.hollow))
        leaves = [parameters[name] if name in parameters else self.static[name] for name in names]
        return jax.tree.unflatten(jax.tree.structure(self.hollow), leaves)

    def __eq__(self, other):
        if not isinstance(other, _Template) or self.library != other.library or list(self.static) != list(other.static):
            return False
        same_structure = jax.tree.structure(self.hollow) == jax.tree.structure(other.hollow)
        return bool(same_structure) and all(_same(self.static[name], other.static[name]) for name in self.static)

    def __hash__(self):
        return hash((self.library, type(self.hollow).__name__, tuple(self.static)))

    def __repr__(self):
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


def _is_number(leaf) -> bool:
    # Python integers stay static: they are counts and sizes.
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float)


def _as_array(leaf):
    if isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    array = jnp.asarray(leaf)
    return array.astype(numerics.float_dtype()) if jnp.issubdtype(array.dtype, jnp.floating) else array


def _same(a, b) -> bool:
    return a is b or bool(a == b)


def _box_constraint(obj):
    """The object's own test of its support, where that is made of inequalities.

    Equalities (simplex, sphere, correlation matrix) are left out: rounding throws a law's own samples off them.
    """
    constraint = getattr(obj, "support", None)
    inner = getattr(constraint, "base_constraint", constraint)
    has_bounds = hasattr(inner, "lower_bound") or hasattr(inner, "upper_bound") or type(inner).__name__ == "Boolean"
    return constraint if has_bounds and hasattr(constraint, "feasible_like") else None


def _bounds(obj):
    constraint = _box_constraint(obj)
    inner = getattr(constraint, "base_constraint", constraint)
    if type(inner).__name__ == "Boolean":
        return 0.0, 1.0
    return getattr(inner, "lower_bound", -jnp.inf), getattr(inner, "upper_bound", jnp.inf)


def _require_one_law(obj) -> None:
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


def _require_one_key(obj) -> None:
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
