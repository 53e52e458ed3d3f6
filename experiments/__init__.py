"""The Hydra program: run, study, collect. The only place that knows Hydra; see `python -m experiments.run --help`."""
