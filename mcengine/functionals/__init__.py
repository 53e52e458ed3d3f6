"""What is made of the weighted samples: their mean, a ratio, a histogram, quantiles. A file each."""

from mcengine.functionals.histogram import Histogram as Histogram
from mcengine.functionals.mean import Mean as Mean
from mcengine.functionals.protocol import Functional as Functional
from mcengine.functionals.protocol import exact_value as exact_value
from mcengine.functionals.protocol import is_functional as is_functional
from mcengine.functionals.ratio import Ratio as Ratio
from mcengine.functionals.tail_risk import TailRisk as TailRisk
