"""Losses on market data: models fitted to real prices, and proposals for their tails."""

from mcengine.finance.conditional_fall import conditional_index_fall
from mcengine.finance.controls import bad_days, lognormal_twin, underlying
from mcengine.finance.index_fall import fitted_model, index_fall
from mcengine.finance.path_options import OptionLevels, PathOption, black_scholes_call, path_option
from mcengine.finance.paths import GeometricBrownian
from mcengine.finance.prices import Prices, load_prices
from mcengine.finance.proposals import BadDays, inflated, one_bad_day, shifted
from mcengine.finance.student_fit import StudentFit, fit_student
from mcengine.finance.student_sum import StudentSumLaw, student_sum_tail, tail_by_contour, tail_by_fft

__all__ = [
    "BadDays", "GeometricBrownian", "OptionLevels", "PathOption", "Prices", "StudentFit", "StudentSumLaw", "bad_days",
    "black_scholes_call", "conditional_index_fall", "fit_student", "fitted_model", "index_fall", "inflated",
    "load_prices", "lognormal_twin", "one_bad_day", "path_option", "shifted", "student_sum_tail", "tail_by_contour",
    "tail_by_fft", "underlying",
]  # fmt: skip
