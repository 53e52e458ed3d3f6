"""What is estimated: an integrand f and a target p."""

from mcengine.problems.conditional import conditional as conditional
from mcengine.problems.difference import difference as difference
from mcengine.problems.difference import pairing_gain as pairing_gain
from mcengine.problems.expectation import Expectation as Expectation
from mcengine.problems.integral import Integral as Integral
from mcengine.problems.probability import Probability as Probability
