"""What is computed from the weighted samples: a mean, a ratio, moments, a histogram, quantiles. One file each."""

from mcengine.functionals.histogram import Histogram as Histogram
from mcengine.functionals.mean import Mean as Mean
from mcengine.functionals.probability_of_exceeding import ProbabilityOfExceeding as ProbabilityOfExceeding
from mcengine.functionals.protocol import Functional as Functional
from mcengine.functionals.protocol import exact_value as exact_value
from mcengine.functionals.protocol import is_functional as is_functional
from mcengine.functionals.ratio import Ratio as Ratio
from mcengine.functionals.second_moments import Covariance as Covariance
from mcengine.functionals.second_moments import Variance as Variance
from mcengine.functionals.tail_risk import TailRisk as TailRisk
