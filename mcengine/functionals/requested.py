"""The functionals of a run, and the problem whose integrand gives what they ask for."""

from typing import Any

import equinox as eqx
import jax

from mcengine.functionals import Mean, is_functional


class Observed(eqx.Module):
    """A problem whose integrand is what some functionals ask of each sample: (outputs of each, denominators)."""

    problem: Any
    functionals: tuple[Any, ...]

    def integrand(self, x: Any) -> tuple[Any, Any]:
        """All columns of one sample."""
        of = [functional.columns(self._value(functional, x)) for functional in self.functionals]
        return tuple(above for above, _ in of), tuple(below for _, below in of if below is not None)

    def _value(self, functional: Any, x: Any) -> Any:
        if not functional.sees_score:
            return self.problem.integrand(x)
        if getattr(self.problem, "integrates_out", False):
            raise ValueError(
                f"{type(functional).__name__}: a conditional problem has one coordinate integrated out, so that its "
                "samples have no score to look at; give the functional the Probability itself."
            )
        score = getattr(self.problem, "score", None)
        return self.problem.integrand(x) if score is None else score(x)

    @property
    def target(self) -> Any:
        return self.problem.target

    @property
    def plain(self) -> Any:
        return self.problem.plain

    @property
    def value_bound(self) -> None:
        return None

    @property
    def is_indicator(self) -> bool:
        return False


def functionals_of(functional: Any) -> tuple[list[Any], Any]:
    """(functionals, structure) of the argument: one, or a dict or sequence of them; the mean where it is None."""
    leaves, treedef = jax.tree.flatten(Mean() if functional is None else functional, is_leaf=is_functional)
    if not leaves or not all(map(is_functional, leaves)):
        raise TypeError(
            "estimate: functional must be one of mc.Mean(), mc.Ratio(), mc.Histogram(edges), mc.TailRisk(levels), or a "
            f"dict or sequence of them, got {functional!r}."
        )
    return leaves, treedef


def observed(problem: Any, functionals: list[Any]) -> Any:
    """The problem whose columns the functionals ask for; itself where its mean is all that is asked."""
    of_columns = tuple(f for f in functionals if not f.keeps_samples)
    return problem if not of_columns or _is_mean(of_columns) else Observed(problem, of_columns)


def _is_mean(functionals: tuple[Any, ...]) -> bool:
    return len(functionals) == 1 and isinstance(functionals[0], Mean) and functionals[0].output is None
