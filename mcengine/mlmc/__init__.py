"""Multilevel Monte Carlo: a fine model as a coarse one plus corrections, each with the samples that it is worth."""

from mcengine.mlmc.levels import Level as Level
from mcengine.mlmc.result import LevelEstimate as LevelEstimate
from mcengine.mlmc.result import MultilevelEstimate as MultilevelEstimate
from mcengine.mlmc.run import multilevel as multilevel
