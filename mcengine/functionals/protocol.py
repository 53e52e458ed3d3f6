"""What a functional offers the engine: the columns it needs of every sample, and how its result is made of them."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, TypeGuard

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from mcengine.inference.estimate import Estimate
from mcengine.inference.tail_risk import RiskEstimate
from mcengine.problems.protocol import Problem
from mcengine.weights.weighting import Weighting

Scalar = float | Array
Result = Estimate | RiskEstimate


class WeightedSamples(NamedTuple):
    """The samples of a run in their order: log-weights (None where all are 0) and one value of each, in float64.

    Each `unit_size` consecutive samples are one unit of the points; `weighting` is raw or self-normalised.
    """

    log_weights: Float[np.ndarray, " n"] | None
    values: Float[np.ndarray, " n"]
    unit_size: int
    weighting: Weighting


class Functional(eqx.Module):
    """What is computed from the weighted samples: the `functional` argument of `estimate`.

    **Adding a functional** is one file with a subclass. It states `columns`, and of the rest what differs:

    - `columns(value)`: (what is averaged, a pytree; what its mean is divided by, a scalar, or None), from f(x)
      at one sample;
    - `finish(columns, volume)`: the result, from the `Estimate` of the columns and E_p[1], which is 1 except for an
      integral; by default that estimate itself;
    - `finish_samples(samples)`: the result of a functional that `keeps_samples`. Its `columns` give one number;
    - `sees_score`: whether it is given the score of a `Probability` instead of the indicator;
    - `needs_covariance`: whether `finish` reads how the errors of its columns vary together;
    - `is_centred`: whether it has a field `centre`, near the mean of `to_centre(value)`, which the engine fills in
      before a run on the host;
    - `value_bound(problem)`: the least upper bound of |column| where it is known; `is_indicator(problem)`: whether all
      columns are 0 or 1; `exact(problem)`: the true result where the problem knows it, for tests and tables.

    Then it gets its export in `mcengine/functionals/__init__.py` and `mcengine/__init__.py`, its YAML in
    `conf/functional/`, its line in `tests/functionals/test_battery.py` and its row in the README.
    """

    sees_score: ClassVar[bool] = False
    keeps_samples: ClassVar[bool] = False
    needs_covariance: ClassVar[bool] = False
    is_centred: ClassVar[bool] = False

    @abstractmethod
    def columns(self, value: PyTree) -> tuple[PyTree, Float[Array, ""] | None]:
        """See the class."""

    def finish(self, columns: Estimate, volume: Scalar = 1.0) -> Estimate:
        """See the class."""
        return columns

    def finish_samples(self, samples: WeightedSamples) -> Result:
        """See the class."""
        raise TypeError(
            f"{type(self).__name__}: it keeps samples, and finish_samples does not say what becomes of them."
        )

    def to_centre(self, value: PyTree) -> PyTree:
        """See the class."""
        return value

    def value_bound(self, problem: Problem) -> float | None:
        """See the class."""
        return None

    def is_indicator(self, problem: Problem) -> bool:
        """See the class."""
        return False

    def exact(self, problem: Problem) -> PyTree:
        """See the class."""
        return None


# What the `functional` argument may be: one, or several whose results have the same structure.
Functionals = Functional | Mapping[str, Functional] | Sequence[Functional] | None


def is_functional(thing: object) -> TypeGuard[Functional]:
    """Whether it is a functional, and not a class of them."""
    return isinstance(thing, Functional)


def exact_value(functional: Functional | None, problem: Problem) -> PyTree:
    """The true value of a functional (None: the mean) of a problem, where it is known. For tests and tables."""
    return problem.exact if functional is None else functional.exact(problem)


def pick_output(value: PyTree, output: str | int | tuple[int, ...] | None, owner: str) -> PyTree:
    """One entry of f(x): its key, index or field name; all of it where `output` is None."""
    if output is None:
        return value
    try:
        if hasattr(value, "shape"):
            # JAX clamps an index that is out of range; NumPy raises.
            np.broadcast_to(np.int8(0), value.shape)[output]  # pyright: ignore[reportCallIssue, reportArgumentType]
        return value[output]
    except (KeyError, IndexError, TypeError):
        if isinstance(output, str) and hasattr(value, output):
            return getattr(value, output)
    shapes = jax.tree.map(np.shape, value)
    raise ValueError(f"{owner}: the integrand has no output {output!r}; it returns shapes {shapes}.")


def check_scalar(value: PyTree, demand: str) -> None:
    """Raise, with the demand and the shapes found, unless the value is one number."""
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value or np.shape(value) != ():
        raise ValueError(f"{demand}; got {jax.tree.map(np.shape, value)}.")
