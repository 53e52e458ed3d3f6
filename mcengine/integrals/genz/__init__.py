"""The six families of test integrands on the unit cube by Genz, one file each."""

from mcengine.integrals.genz.continuous import genz_continuous
from mcengine.integrals.genz.corner_peak import genz_corner_peak
from mcengine.integrals.genz.discontinuous import genz_discontinuous
from mcengine.integrals.genz.gaussian import genz_gaussian
from mcengine.integrals.genz.oscillatory import genz_oscillatory
from mcengine.integrals.genz.parameters import TOTAL_DIFFICULTY, genz_parameters
from mcengine.integrals.genz.product_peak import genz_product_peak

__all__ = [
    "TOTAL_DIFFICULTY",
    "genz_continuous",
    "genz_corner_peak",
    "genz_discontinuous",
    "genz_gaussian",
    "genz_oscillatory",
    "genz_parameters",
    "genz_product_peak",
]
