"""Integrals with exact values, one file for each curve or family, with proposals and control variates for them."""

from mcengine.integrals.genz import (
    genz_continuous,
    genz_corner_peak,
    genz_discontinuous,
    genz_gaussian,
    genz_oscillatory,
    genz_product_peak,
)
from mcengine.integrals.keister import keister, radius_powers
from mcengine.integrals.legendre import legendre
from mcengine.integrals.peak_proposal import peak_proposal
from mcengine.integrals.peaked_curve import peaked_curve

__all__ = [
    "genz_continuous",
    "genz_corner_peak",
    "genz_discontinuous",
    "genz_gaussian",
    "genz_oscillatory",
    "genz_product_peak",
    "keister",
    "legendre",
    "peak_proposal",
    "peaked_curve",
    "radius_powers",
]
