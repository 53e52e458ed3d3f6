"""Gradients of estimates, with error bars: along integrand and target, and along the proposal's parameters."""

from mcengine.gradients.front_door import estimate_gradient as estimate_gradient
from mcengine.gradients.front_door import gradient_problem as gradient_problem
from mcengine.gradients.front_door import score_control as score_control
from mcengine.gradients.proposals import estimate_proposal_gradient as estimate_proposal_gradient
