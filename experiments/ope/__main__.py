"""`python -m experiments.ope log=FILE target=FILE`: the table of all estimators, and which of them to use."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments import config
from experiments.collect import wide_console
from experiments.ope.report import as_frame, terminal_table
from mcengine.rl import ope
from mcengine.rl.ope.logs import Log

USAGE = f"""\
python -m experiments.ope log=FILE [target=FILE] [SETTING=VALUE ...]

Settings, from {config.CONF.name}/ope.yaml:
"""
# Types of settings that Hydra does not check.
KINDS = {"discount": (int, float), "ridge": (int, float), "folds": (int,), "horizon": (int, type(None))}


def settings(overrides: list[str]) -> DictConfig:
    """conf/ope.yaml with the overrides of a command.

    **Raises:** `ValueError` for an unknown setting, with suggestions, and for text in place of a number.
    """
    known = OmegaConf.to_container(OmegaConf.load(config.CONF / "ope.yaml"))
    assert isinstance(known, dict)
    names = [*(str(name) for name in known), *(f"columns.{name}" for name in known["columns"])]
    for name in (override.partition("=")[0] for override in overrides):
        if name not in names:
            raise ValueError(f"There is no setting {name!r}. {config.suggest(name, names, 'There are')}")
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config.CONF)):
        cfg = hydra.compose("ope", overrides=overrides)
    for name, kind in KINDS.items():
        if not isinstance(cfg[name], kind):
            what = "a number" if float in kind else "a whole number"
            raise ValueError(f"{name} must be {what}, got {cfg[name]}.")
    return cfg


def read(cfg: DictConfig) -> Log:
    """The log that the settings name.

    **Raises:** `ValueError` for settings that are missing or contradict each other, and as `ope.read_log`.
    """
    if OmegaConf.is_missing(cfg, "log"):
        raise ValueError("Give the log: python -m experiments.ope log=FILE target=FILE; --help lists all settings.")
    if cfg.campaign is None:
        columns = ope.Columns(**{str(name): str(column) for name, column in cfg.columns.items()})
        return ope.read_log(cfg.log, cfg.target, columns=columns, discount=float(cfg.discount), horizon=cfg.horizon)
    if cfg.target not in (None, "uniform"):
        raise ValueError("The Open Bandit sample's target is the uniform policy; leave out target, or campaign.")
    if cfg.discount != 1.0 or cfg.horizon is not None:
        raise ValueError("The Open Bandit sample has rounds of one step; leave out discount and horizon, or campaign.")
    return ope.read_open_bandit(cfg.log, cfg.campaign).log


def evaluate(cfg: DictConfig, console: Console) -> None:
    """Print the table and the recommendation, and write the table to the file `output`."""
    log = read(cfg)
    model = ope.fitted_q(log, folds=cfg.folds, ridge=float(cfg.ridge)) if ope.can_be_fitted(log) else None
    estimates = ope.estimate_all(log, model)
    frame, recommendation = as_frame(estimates), ope.recommend(log, estimates)
    console.print(terminal_table(frame))
    use = "Use none" if recommendation.name is None else f"Use {recommendation.name}"
    console.print(f"{use}: {recommendation.reason}", soft_wrap=True, highlight=False, markup=False)
    if model is None:
        console.print(
            "No model: DR and DM need the columns state (or state_0, ...), action and target_0, target_1, ...",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
    if cfg.output is not None:
        Path(cfg.output).parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(cfg.output, index=False)


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 2 for a bad command or log."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--help" in given or "-h" in given:
        print(USAGE + (config.CONF / "ope.yaml").read_text())
        return 0
    try:
        evaluate(settings(given), wide_console())
    except (ValueError, *config.CONFIG_ERRORS) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
