"""Multilevel Monte Carlo: a coarse model plus corrections towards a fine one, with optimal sample counts per level."""

from mcengine.mlmc.levels import Level as Level
from mcengine.mlmc.result import LevelEstimate as LevelEstimate
from mcengine.mlmc.result import MultilevelEstimate as MultilevelEstimate
from mcengine.mlmc.run import multilevel as multilevel
