"""Off-policy evaluation of logs in files, and the studies behind results/ope/."""
