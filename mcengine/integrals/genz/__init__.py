"""Genz's families of test integrands on the unit cube: one file each, parameters in one place."""

from mcengine.integrals.genz.gaussian import genz_gaussian
from mcengine.integrals.genz.parameters import TOTAL_DIFFICULTY, genz_parameters

__all__ = ["TOTAL_DIFFICULTY", "genz_gaussian", "genz_parameters"]
