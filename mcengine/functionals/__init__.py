"""What is made of the weighted samples, where it is not their mean."""

from mcengine.functionals.histogram import Histogram as Histogram
from mcengine.functionals.tail_risk import RiskEstimate as RiskEstimate
from mcengine.functionals.tail_risk import TailRisk as TailRisk
from mcengine.functionals.tail_risk import tail_risk as tail_risk
