"""Off-policy evaluation from files: a log's table and recommendation, and the studies behind results/ope/."""
