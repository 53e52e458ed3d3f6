"""From what every trajectory contributes to an `Estimate`: the engine's error bar, diagnostics and status."""

import dataclasses

import numpy as np
from jaxtyping import Float

from mcengine.diagnostics import MAX_BIAS, Status
from mcengine.from_arrays import estimate_from
from mcengine.result import Estimate

# What weights say about an estimate that is not their own mean.
OF_WEIGHTS = (Status.HEAVY_TAIL, Status.DOMINATED, Status.UNRELIABLE, Status.NO_HITS)


class PolicyValue(Estimate):
    """The estimated value of a policy: an `Estimate` whose units are trajectories (rounds, of a bandit).

    `ess`, `pareto_k`, `max_weight_share` and the status are the worst of those of what the units contribute and of the
    weights behind them, which a sum of a model's values and weighted residuals would hide.
    """

    def merge(self, other: Estimate) -> Estimate:
        """Refused: models and normalisations belong to one log.

        **Raises:** `TypeError`.
        """
        raise TypeError("merge: estimate from both logs as one (with logger= where the behaviour policies differ).")


def from_units(
    units: Float[np.ndarray, " n"], *watched: Float[np.ndarray, " n"], bias: float = 0.0, biased: bool | None = None
) -> PolicyValue:
    """mean(units), with the error bar of independent units and the worst diagnostics of them and all that is watched.

    **Arguments:** `watched`, weights or weighted residuals whose tail, largest share and ESS count too; `bias`, what
    the method took away from (or added to) an unbiased estimate, and `biased`, whether that is too much: by default
    where it is above `MAX_BIAS` standard errors, as elsewhere in the engine.
    """
    estimate = estimate_from(None, units)
    views = [estimate_from(None, weights) for weights in watched]
    too_much = bool(abs(bias) > MAX_BIAS * estimate.std_error) if biased is None else biased
    codes = [int(estimate.status_codes), int(Status.BIASED if too_much else Status.OK)]
    codes += [int(view.status_codes) for view in views if view.status in OF_WEIGHTS]
    worst = {
        "ess": np.min([estimate.ess, *(view.ess for view in views)]),
        "max_weight_share": np.max([estimate.max_weight_share, *(view.max_weight_share for view in views)]),
        "pareto_k": np.fmax.reduce([estimate.pareto_k, *(view.pareto_k for view in views)]),
        "bias_seen": np.float64(bias),
        "status_codes": np.int32(max(codes)),
    }
    fields = {field.name: getattr(estimate, field.name) for field in dataclasses.fields(estimate)}
    return PolicyValue(**fields | worst)
