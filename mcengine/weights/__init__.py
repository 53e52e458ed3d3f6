"""Weights p / q in log space; the only room where exp(log p - log q) is written.

`log_weights` has the functions on arrays that are exported here; `weighting` and `mis` the choices of an estimate, what
is done to the weights and how those of several proposals are combined; `pareto_tail` the fit behind k-hat.
"""

from mcengine.weights.log_weights import clipped as clipped
from mcengine.weights.log_weights import effective_sample_size as effective_sample_size
from mcengine.weights.log_weights import excess_over_log as excess_over_log
from mcengine.weights.log_weights import from_log as from_log
from mcengine.weights.log_weights import k_hat as k_hat
from mcengine.weights.log_weights import largest_share as largest_share
from mcengine.weights.log_weights import log_mean as log_mean
from mcengine.weights.log_weights import log_ratio as log_ratio
from mcengine.weights.log_weights import log_ratio_of_drawn as log_ratio_of_drawn
from mcengine.weights.log_weights import mantissa_and_exponent as mantissa_and_exponent
from mcengine.weights.log_weights import normalised as normalised
from mcengine.weights.log_weights import pareto_smoothed as pareto_smoothed
from mcengine.weights.log_weights import truncated as truncated
