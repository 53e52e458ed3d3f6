"""Studies of policy gradients, critics and divergences, each on a problem whose answer is known exactly."""
