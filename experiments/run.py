"""`python -m experiments.run`: measure one (problem, method) pair, or with -m every combination of a sweep."""

import os
import sys

import hydra
from omegaconf import DictConfig

from experiments import config, jobs


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    jobs.run(cfg)


def main() -> int:
    """Run Hydra's program; 0 if every job has its record, 1 if any failed, 2 for a command that makes no sense."""
    wants_trace = "HYDRA_FULL_ERROR" in os.environ
    # Hands Hydra's errors over to us instead of printing them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _hydra_main()
    except config.CONFIG_ERRORS as error:
        if wants_trace:
            raise
        overrides = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
        print(config.explain(error, overrides), file=sys.stderr)
        return 2
    finally:
        # Also where a launcher gave up: what its jobs had to say is the better half of the error.
        outcomes = jobs.gather(jobs.Folder.path)
        if len(outcomes) > 1:
            print(jobs.summary(outcomes))
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
