"""Several functionals of one run: each has its own columns of the row, and its own recipe."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcengine import dues, numerics
from mcengine.caching import is_traced, shapes_of
from mcengine.distributions import event_struct
from mcengine.execution.blocks import Layout, Work
from mcengine.functionals import Mean, is_functional
from mcengine.moments import MAX_TAILED, Moments, Row, SampleStats
from mcengine.problem import Lebesgue
from mcengine.recipe import Recipe


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


class Part(eqx.Module):
    """One functional's share of a row: outputs start .. stop - 1, its denominator's column, its tails, its recipe."""

    recipe: Recipe
    start: int = eqx.field(static=True)
    stop: int = eqx.field(static=True)
    denominator: int | None = eqx.field(static=True)
    tails: tuple[int, ...] = eqx.field(static=True)


class Parts(NamedTuple):
    """The functionals of a run: those that columns suffice for, and those (by position) that need all samples."""

    of_columns: dict[int, Part]
    of_samples: dict[int, Any]
    treedef: Any

    @property
    def num_outputs(self) -> int:
        return sum(part.stop - part.start for part in self.of_columns.values())

    def results(self, by_position: dict[int, Any]) -> Any:
        """The results in the structure of the `functional` argument."""
        return jax.tree.unflatten(self.treedef, [by_position[i] for i in range(len(by_position))])


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


def parts_of(work: Work, problem: Any, source: Any, functionals: list[Any], treedef: Any) -> tuple[Parts, Layout]:
    """Every functional's part of the row, and how its columns lie; `problem` is the one that the user gave."""
    event = event_struct(source)
    kept = {i: f for i, f in enumerate(functionals) if not f.keeps_samples}
    shapes = [shapes_of(_columns_of, Observed(problem, (f,)), event) for f in kept.values()]
    sizes = [sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(above)) for above, _ in shapes]
    num_outputs, ratios = sum(sizes), sum(len(below) for _, below in shapes)
    of_columns, tailed, start, below_before = {}, [], 0, 0
    num_tails = sum(min(size, MAX_TAILED) for size in sizes)
    for (i, functional), (above, below), size in zip(kept.items(), shapes, sizes, strict=True):
        _check_outputs(above)
        denominator = num_outputs + below_before if below else None
        if not below and work.weighting.self_normalised:
            denominator = num_outputs + ratios
        tails = [*range(len(tailed), len(tailed) + min(size, MAX_TAILED))]
        tailed.extend(range(start, start + len(tails)))
        if denominator is not None:
            tails.append(num_tails + denominator - num_outputs)
        if work.controls is not None:
            tails += [num_tails + tail for tail in tails]  # what the controls leave
        recipe = _recipe(work, problem, source, functional, above[0], bool(below))
        of_columns[i] = Part(recipe, start, start + size, denominator, tuple(tails))
        start, below_before = start + size, below_before + len(below)
    denominators = range(num_outputs, num_outputs + ratios + work.weighting.self_normalised)
    of_samples = {i: f for i, f in enumerate(functionals) if f.keeps_samples}
    return Parts(of_columns, of_samples, treedef), Layout(ratios, (*tailed, *denominators))


def _columns_of(observed: Observed, x: Any) -> Any:
    return observed.integrand(x)


def _check_outputs(above: Any) -> None:
    leaves = jax.tree.leaves(above)
    if not any(leaf.size for leaf in leaves):
        raise ValueError("estimate: the integrand returns nothing.")
    if any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in leaves):
        raise ValueError("estimate: the integrand is complex; return its real and imaginary parts.")


def _recipe(work: Work, problem: Any, source: Any, functional: Any, above: Any, divided: bool) -> Recipe:
    """How the columns of one functional become its estimate."""
    leaves, treedef = jax.tree.flatten(above)
    proposal, weighting = work.proposal, work.weighting
    plain = proposal is None and problem.plain is problem.target
    indicator, bound = functional.is_indicator(problem), functional.value_bound(problem)
    normalised = weighting.self_normalised or divided
    untouched = not (weighting.changes_weights or normalised or work.controls is not None)
    largest = jnp.asarray(jnp.nan, numerics.float_dtype())
    if bound is not None and untouched:
        share = 1.0 if plain else getattr(proposal, "defensive_share", None)
        if share is not None and (plain or same_law(getattr(proposal, "target", None), problem.target)):
            largest = jnp.asarray(bound / share, numerics.float_dtype())
    return Recipe(
        treedef=treedef,
        shapes=tuple(leaf.shape for leaf in leaves),
        self_normalised=normalised,
        binomial=plain and indicator and untouched and work.points.unit_size == 1,
        indicator=plain and indicator and untouched,
        controlled=work.controls is not None,
        # Of an integral an indicator's mean is a volume.
        bounded_by_one=indicator and not isinstance(problem.target, Lebesgue),
        epsilon=float(jnp.finfo(numerics.float_dtype()).eps),
        largest=largest,
        covariance=work.covariance,
        divided=divided,
    )


def same_law(a: Any, b: Any) -> bool:
    """Whether two distributions are the same object or equal leaf by leaf; unknown (False) where traced."""
    if a is b:
        return True
    if jax.tree.structure(a) != jax.tree.structure(b) or is_traced((a, b)):
        return False
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def select(row: Row, part: Part) -> Row:
    """The row that a functional would have had alone."""
    # Scalars of NumPy become arrays again.
    row = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), row)
    m, s = row.moments, row.stats
    if part.stop - part.start + (part.denominator is not None) == m.mean.shape[-1]:
        return row
    columns = [*range(part.start, part.stop), *([] if part.denominator is None else [part.denominator])]
    among = columns if part.recipe.covariance == "full" else columns[part.stop - part.start :]
    first_aux = m.mean.shape[-1] - m.cross.shape[-1]
    aux = [column - first_aux for column in among]
    thirds = [0] if m.third.shape[-1] else []
    if thirds and part.denominator is not None:
        pair = m.third.shape[-1] - 2 * (m.mean.shape[-1] - part.denominator)
        thirds += [pair, pair + 1]
    moments = Moments(
        m.count, m.exponent[..., columns], m.mean[..., columns], m.m2[..., columns],
        m.cross[..., columns, :][..., aux], m.total[..., columns, :], m.third[..., columns, :][..., thirds],
    )  # fmt: skip
    tails = list(part.tails)
    stats = SampleStats(
        s.num_samples, s.num_nonfinite, s.exponent[..., columns], s.sum_abs[..., columns], s.sum_squares[..., columns],
        s.max_abs[..., columns], s.hits[..., columns], s.removed[..., columns], s.log_tail[..., tails, :],
        s.tail_hits[..., tails],
    )  # fmt: skip
    outputs = tails[: min(part.stop - part.start, MAX_TAILED)]
    return Row(moments, stats, dues.select(row.dues, outputs))
