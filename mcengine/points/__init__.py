"""How the uniforms of a run are laid out: independent, in pairs, in strata, on a lattice, as scrambled Sobol points."""

from mcengine.points.allocated import Allocated as Allocated
from mcengine.points.antithetic import Antithetic as Antithetic
from mcengine.points.base import Points as Points
from mcengine.points.iid import IID as IID
from mcengine.points.latin_hypercube import LatinHypercube as LatinHypercube
from mcengine.points.lattice import Lattice as Lattice
from mcengine.points.sobol import Sobol as Sobol
from mcengine.points.stratified import Stratified as Stratified
