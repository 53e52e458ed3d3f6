"""`python -m experiments.run`: measure one (problem, method) pair, or every combination of a sweep (-m)."""

import os
import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from experiments import config, jobs
from experiments.renamed import current_overrides

# For the help text: Hydra's own list of groups contains the experiments, which are not an option of a job.
OmegaConf.register_new_resolver("mcengine_groups", config.groups_and_options, replace=True)


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    jobs.run(cfg)


def main() -> int:
    """Run Hydra's program. Returns 0 if every job has its record, 1 if any failed, 2 for an invalid command."""
    wants_trace = "HYDRA_FULL_ERROR" in os.environ
    # Hydra raises its errors instead of printing them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Before Hydra parses the command, so that its sweeper and its other processes get the new names too.
    sys.argv[1:] = current_overrides(sys.argv[1:])
    try:
        _hydra_main()
    except KeyboardInterrupt:
        print(jobs.interrupted(jobs.gather(jobs.Folder.path, ended=False)), file=sys.stderr)
        return 130
    except (*config.CONFIG_ERRORS, OSError) as error:
        if wants_trace:
            raise
        print(_words(error), file=sys.stderr)
        _summarise()
        return 2
    except BaseException:
        _summarise()
        raise
    return _summarise()


def _words(error: Exception) -> str:
    # Hydra's error for a missing file is an OSError too.
    if isinstance(error, OSError) and not isinstance(error, config.CONFIG_ERRORS):
        return f"Cannot write below {error.filename}: {error.strerror}."
    overrides = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    return config.explain(error, overrides)


def _summarise() -> int:
    """Print the summary of a sweep, also after a launcher failed: the outcomes of its jobs have the reason."""
    outcomes = jobs.gather(jobs.Folder.path)
    if len(outcomes) > 1:
        print(jobs.summary(outcomes))
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
