"""Areas and volumes with exact values, a file for each curve or family, and the proposals that suit them."""

from mcengine.integrals.genz import genz_gaussian
from mcengine.integrals.peak_proposal import peak_proposal
from mcengine.integrals.peaked_curve import peaked_curve

__all__ = ["genz_gaussian", "peak_proposal", "peaked_curve"]
