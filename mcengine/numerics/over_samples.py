"""A function of one sample, over many that lie along the last axis: `vmap` with an eye for what vector units like.

`jax.vmap(f, in_axes=-1, out_axes=-1)` means the same. But wherever a batched vector meets an unbatched one (x - loc) it
moves the samples to the front, and a sum over the coordinates is then, for XLA on CPU, a loop over one sample at a time
with transposed copies before it: 44 ns for a sum of ten coordinates, 3 ns as nine additions of whole arrays.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend.core import Literal
from jaxtyping import Array

# Longer reductions would make kernels too long to compile.
MOST_TERMS = 64
REDUCTIONS = {"reduce_sum": lax.add, "reduce_prod": lax.mul, "reduce_max": lax.max, "reduce_min": lax.min}
# Primitives that do the same to every entry, of operands of one shape.
ELEMENTWISE = frozenset([
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e",
    "bitcast_convert_type", "cbrt", "ceil", "convert_element_type", "copy", "cos", "cosh", "digamma", "div",
    "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite",
    "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not",
    "or", "population_count", "pow", "real", "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n",
    "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor",
])  # fmt: skip


def over_samples(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.vmap(function, in_axes=-1, out_axes=-1)` whose operations keep the samples along the last axis.

    The function is traced for one sample. Elementwise operations are done on whole arrays, reductions over at most
    `MOST_TERMS` entries are written out, and all others are batched by `vmap` one by one.
    """

    def mapped(*arguments: Any) -> Any:
        leaves = jax.tree.leaves(arguments)
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[:-1], leaf.dtype), arguments)
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*one)
        size = leaves[0].shape[-1]
        out = _run(traced.jaxpr, traced.consts, [_Samples(leaf) for leaf in leaves], size)
        return jax.tree.unflatten(jax.tree.structure(shapes), [_expanded(value, size) for value in out])

    return mapped


class _Samples:
    """A value of every sample, [..., n]; whatever is not wrapped is the same for all."""

    def __init__(self, array: Array) -> None:
        self.array = array


def _expanded(value: Any, size: int) -> Array:
    """The value of every sample."""
    if isinstance(value, _Samples):
        return value.array
    shape = jax.numpy.shape(value)
    return lax.broadcast_in_dim(value, (*shape, size), range(len(shape)))


def _aligned(value: Any, shape: tuple[int, ...], size: int) -> Array:
    """An operand at the shape of the result: the same for all samples, or one number of each."""
    array, own = (value.array, True) if isinstance(value, _Samples) else (value, False)
    axes = range(jax.numpy.ndim(array) - own)
    return lax.broadcast_in_dim(array, (*shape, size), (*axes, len(shape)) if own else tuple(axes))


def _run(jaxpr: Any, consts: list[Any], arguments: list[Any], size: int) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        values.update(zip(equation.outvars, _do(equation, [read(atom) for atom in equation.invars], size), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _do(equation: Any, inputs: list[Any], size: int) -> list[Any]:
    name = equation.primitive.name
    if name == "jit":
        inner = equation.params["jaxpr"]
        return _run(inner.jaxpr, inner.consts, inputs, size)
    if not any(isinstance(value, _Samples) for value in inputs):
        return _bind(equation, inputs)
    if name in REDUCTIONS and 1 <= _num_terms(equation) <= MOST_TERMS:
        return [_Samples(_written_out(equation, inputs[0].array))]
    if name in ELEMENTWISE:
        shape = equation.outvars[0].aval.shape
        return [_Samples(out) for out in _bind(equation, [_aligned(value, shape, size) for value in inputs])]
    axes = [-1 if isinstance(value, _Samples) else None for value in inputs]
    arrays = [value.array if isinstance(value, _Samples) else value for value in inputs]
    batched = jax.vmap(lambda *one: _bind(equation, list(one)), in_axes=axes, out_axes=-1, axis_size=size)
    return [_Samples(out) for out in batched(*arrays)]


def _bind(equation: Any, inputs: list[Any]) -> list[Any]:
    primitive = equation.primitive
    parameters = primitive.get_bind_params(equation.params)
    # Functions of an equation (custom derivatives) came apart from its other parameters in older versions of JAX.
    functions, parameters = parameters if isinstance(parameters, tuple) else ((), parameters)
    out = primitive.bind(*functions, *inputs, **parameters)
    return out if primitive.multiple_results else [out]


def _num_terms(equation: Any) -> int:
    return math.prod(equation.invars[0].aval.shape[axis] for axis in equation.params["axes"])


def _written_out(equation: Any, x: Array) -> Array:
    combine = REDUCTIONS[equation.primitive.name]
    # The last axes first, so that the numbers of the others stay what they are.
    for axis in sorted(equation.params["axes"], reverse=True):
        terms = [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
        x = terms[0]
        for term in terms[1:]:
            x = combine(x, term)
    return x
