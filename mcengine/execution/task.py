"""What is drawn: everything that a block needs besides its key and index."""

from typing import Any, NamedTuple

import equinox as eqx


class SamplingTask(eqx.Module):
    """Everything a block needs besides its key and index."""

    problem: Any
    proposal: Any
    points: Any
    weighting: Any
    mis: Any = None
    controls: Any = None
    coefficients: Any = None  # of the controls; None while a pilot looks for them
    covariance: str | None = eqx.field(static=True, default="diagonal")
    layout: "Layout" = eqx.field(static=True, default_factory=lambda: ColumnLayout())


class ColumnLayout(NamedTuple):
    """How the columns of a sample lie: the last `num_denominators` are divided by; `tailed` keep a tail for k-hat."""

    num_denominators: int = 0
    tailed: tuple[int, ...] | None = None
