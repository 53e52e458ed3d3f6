"""Problems of reinforcement learning with exact values: policy values in a tabular MDP."""
