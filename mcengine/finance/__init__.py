"""Losses on market data and options on paths: models fitted to real prices, proposals for tails, control variates."""

from mcengine.finance.conditional_fall import conditional_index_fall
from mcengine.finance.controls import exceedance_counts, lognormal_twin, underlying
from mcengine.finance.index_fall import fitted_model, index_fall
from mcengine.finance.path_options import OptionLevels, PathOption, black_scholes_call, path_option
from mcengine.finance.paths import GeometricBrownian
from mcengine.finance.prices import Prices, load_prices
from mcengine.finance.proposals import OneBigJump, inflated, one_big_jump, shifted
from mcengine.finance.student_fit import StudentFit, fit_student
from mcengine.finance.student_sum import StudentSumLaw, student_sum_tail, tail_by_contour, tail_by_fft
from mcengine.numerics.deprecation import deprecated_names

__all__ = [
    "GeometricBrownian", "OneBigJump", "OptionLevels", "PathOption", "Prices", "StudentFit", "StudentSumLaw",
    "black_scholes_call", "conditional_index_fall", "exceedance_counts", "fit_student", "fitted_model",
    "index_fall", "inflated", "load_prices", "lognormal_twin", "one_big_jump",
    "path_option", "shifted", "student_sum_tail", "tail_by_contour",
    "tail_by_fft", "underlying",
]  # fmt: skip

__getattr__ = deprecated_names(
    __name__, {"bad_days": "exceedance_counts", "one_bad_day": "one_big_jump", "BadDays": "OneBigJump"}
)
