"""Proposals made from the target or from other proposals."""

from mcengine.proposals.cumulants import cumulant_generating as cumulant_generating
from mcengine.proposals.defensive import Defensive as Defensive
from mcengine.proposals.defensive import defensive as defensive
from mcengine.proposals.mixture import mixture as mixture
from mcengine.proposals.multi_sample import MultiSample as MultiSample
from mcengine.proposals.multi_sample import multi_sample as multi_sample
from mcengine.proposals.scaled import scaled as scaled
from mcengine.proposals.shifted import shifted as shifted
from mcengine.proposals.tilted import tilted as tilted
