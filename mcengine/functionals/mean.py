"""The mean of what the integrand returns, by name."""

from typing import Any

import equinox as eqx

from mcengine.functionals.protocol import picked


class Mean(eqx.Module):
    """E_p[f(X)], what `estimate` gives unless told otherwise.

    **Arguments:** `output`, one entry of what the integrand returns (a key, an index); all of it by default.
    """

    output: Any = eqx.field(static=True, default=None)

    @property
    def sees_score(self) -> bool:
        return False

    @property
    def keeps_samples(self) -> bool:
        return False

    def columns(self, value: Any) -> tuple[Any, None]:
        """(the outputs, None): see `Functional`."""
        return picked(value, self.output, "Mean"), None

    def value_bound(self, problem: Any) -> float | None:
        """That of the problem."""
        return problem.value_bound

    def is_indicator(self, problem: Any) -> bool:
        """That of the problem."""
        return bool(getattr(problem, "is_indicator", False))

    def exact(self, problem: Any) -> Any:
        """The problem's own, or the entry of it; None where it has none."""
        exact = getattr(problem, "exact", None)
        return None if exact is None else picked(exact, self.output, "Mean")
