"""The functionals of a run, and the problem whose integrand gives the columns that they ask for."""

import jax
from jax.tree_util import PyTreeDef
from jaxtyping import PyTree

from mcengine.distributions.protocol import Density
from mcengine.functionals.mean import Mean
from mcengine.functionals.protocol import Functional, is_functional
from mcengine.problems.protocol import Problem


class Observed(Problem):
    """A problem whose integrand is what some functionals ask of each sample: (outputs of each, denominators)."""

    problem: Problem
    functionals: tuple[Functional, ...]

    def integrand(self, x: PyTree) -> tuple[PyTree, PyTree]:
        """All columns of one sample."""
        pairs = [functional.columns(self._value(functional, x)) for functional in self.functionals]
        return tuple(outputs for outputs, _ in pairs), tuple(below for _, below in pairs if below is not None)

    def _value(self, functional: Functional, x: PyTree) -> PyTree:
        return self.problem.observable(x) if functional.sees_score else self.problem.integrand(x)

    @property
    def target(self) -> Density:
        """The problem's own."""
        return self.problem.target

    @property
    def plain(self) -> Density:
        """The problem's own."""
        return self.problem.plain


def functionals_of(functional: object) -> tuple[list[Functional], PyTreeDef]:
    """(functionals, structure) of the argument: one, or a dict or sequence of them; the mean where it is None."""
    leaves, treedef = jax.tree.flatten(Mean() if functional is None else functional, is_leaf=is_functional)
    if not leaves or not all(map(is_functional, leaves)):
        raise TypeError(
            "estimate: functional must be one of mc.Mean(), mc.Ratio(), mc.Variance(), mc.Histogram(edges), "
            f"mc.TailRisk(levels) and other functionals, or a dict or sequence of them, got {functional!r}."
        )
    return leaves, treedef


def observed(problem: Problem, functionals: list[Functional]) -> Problem:
    """The problem whose columns the functionals ask for; itself where only its mean is asked for."""
    of_columns = tuple(f for f in functionals if not f.keeps_samples)
    is_mean = len(of_columns) == 1 and isinstance(of_columns[0], Mean) and of_columns[0].output is None
    return problem if not of_columns or is_mean else Observed(problem, of_columns)
