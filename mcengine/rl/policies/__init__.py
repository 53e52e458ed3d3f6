"""Quantities of policies besides the objectives.

Files: `kl` (divergences and entropies, exact and estimated), `trust_region` (the step of TRPO), `regression_weights`
(weights of samples by their advantages: REPS, AWR, MPO; and of prioritised replay).
"""
