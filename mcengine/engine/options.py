"""How a problem is estimated: the options that `estimate`, `replicate`, `estimate_batch` and gradients share."""

import dataclasses
from typing import Literal

from mcengine.controls import ControlVariates
from mcengine.engine.budgets import Budget
from mcengine.execution.settings import Execution
from mcengine.functionals.protocol import Functionals
from mcengine.points import IID, Points
from mcengine.weights.mis import Heuristic
from mcengine.weights.weighting import Raw, Weighting

CovarianceMode = Literal["diagonal", "full"] | None


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything but the key, the problem and the proposal; `estimate` says what each means.

    `functional` is one functional, or a dict or sequence of them.
    """

    budget: Budget
    points: Points = IID()  # noqa: RUF009  they are frozen
    mis: Heuristic | None = None
    weighting: Weighting = Raw()  # noqa: RUF009
    controls: ControlVariates | None = None
    functional: Functionals = None
    covariance: CovarianceMode = "diagonal"
    execution: Execution = Execution()  # noqa: RUF009
