"""The mergeable summary of a set of samples: sums from which every number of an estimate is made."""
