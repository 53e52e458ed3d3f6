"""The mean of the integrand's value."""

import equinox as eqx
from jaxtyping import PyTree

from mcengine.functionals.protocol import Functional, pick_output
from mcengine.problems.protocol import Problem


class Mean(Functional):
    """E_p[f(X)], which `estimate` computes by default.

    **Arguments:**

    - `output`: one entry of what the integrand returns (a key, an index); all of it by default.
    """

    output: str | int | tuple[int, ...] | None = eqx.field(static=True, default=None)

    def columns(self, value: PyTree) -> tuple[PyTree, None]:
        """(the outputs, None)."""
        return pick_output(value, self.output, "Mean"), None

    def value_bound(self, problem: Problem) -> float | None:
        """The bound of the problem."""
        return problem.value_bound

    def is_indicator(self, problem: Problem) -> bool:
        """Whether the problem's integrand is one."""
        return problem.is_indicator

    def exact(self, problem: Problem) -> PyTree:
        """The problem's exact value, or the entry of it."""
        return None if problem.exact is None else pick_output(problem.exact, self.output, "Mean")
