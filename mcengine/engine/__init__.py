"""`estimate` and its kin: a run is planned, executed and finished."""
