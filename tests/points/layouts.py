"""Every layout, in one list: a new layout is one more line here and passes what the others pass."""

import mcengine as mc

LAYOUTS = [
    mc.points.IID(),
    mc.points.IID(words=2),
    mc.points.IID(generator="threefry"),
    mc.points.Antithetic(),
    mc.points.Antithetic(words=2),
    mc.points.Stratified(),
    mc.points.LatinHypercube(),
    mc.points.Lattice(),
    mc.points.Lattice(tent=True),
    mc.points.Sobol(),
]
