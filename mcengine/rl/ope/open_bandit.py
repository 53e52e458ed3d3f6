"""The Open Bandit sample as a bandit log: 10,000 rounds per file, read from the `obp` wheel or from CSV files."""

import io
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mcengine.rl.ope.file_table import Table, contents
from mcengine.rl.ope.logs import BanditLog

NUM_ITEMS = {"all": 80, "men": 34, "women": 46}


class OpenBandit(NamedTuple):
    """Both logs of a campaign.

    - `log`: rounds of Thompson sampling ("bts"), with the uniform policy as the target.
    - `clicks_of_uniform`, [10,000]: the rewards of the uniform policy itself (the `random` log).
    """

    log: BanditLog
    clicks_of_uniform: Float[np.ndarray, " rounds"]


def read_open_bandit(source: str | os.PathLike[str], campaign: str) -> OpenBandit:
    """Both logs of a campaign.

    A round is a recommended item (the action) at one of three positions (the context), and a click (the reward).

    **Arguments:**

    - `source`: the wheel of obp 0.4.1, which is read as a zip file and need not be installed; or a folder with
      `bts/CAMPAIGN/CAMPAIGN.csv` and `random/CAMPAIGN/CAMPAIGN.csv`, gzipped or not.
    - `campaign`: "all", "men" or "women".

    **Raises:** `ValueError` for an unknown campaign, a source without the file, and as `read_log`.

    **Source:** Y. Saito, S. Aihara, M. Matsutani, Y. Narita (2021), Open Bandit Dataset and Pipeline, NeurIPS Datasets.
    """
    if campaign not in NUM_ITEMS:
        raise ValueError(f"read_open_bandit: campaign must be one of {', '.join(NUM_ITEMS)}; got {campaign!r}.")
    logged, uniform = (_table(Path(source), policy, campaign) for policy in ("bts", "random"))
    n, num_items = len(logged), NUM_ITEMS[campaign]
    with np.errstate(divide="ignore"):
        log_behaviour = np.log(logged.probabilities("propensity_score"))
    log = BanditLog(
        logged.whole_numbers("item_id"),
        logged.numbers("click"),
        log_behaviour,
        contexts=logged.whole_numbers("position"),
        target_probabilities=np.full((n, num_items), 1.0 / num_items),
        validator=logged.validator(),
    )
    return OpenBandit(log, uniform.numbers("click"))


def _table(source: Path, policy: str, campaign: str) -> Table:
    import pandas as pd  # late, as in `file_table`

    inside, name = f"{policy}/{campaign}/{campaign}.csv", f"{policy}/{campaign}"
    if source.is_dir():
        found = [path for path in (source / inside, source / f"{inside}.gz") if path.is_file()]
        if not found:
            raise ValueError(f"read_open_bandit: there is no {inside} (or {inside}.gz) below {source}.")
        return Table(contents(lambda: pd.read_csv(found[0]), name), name)
    if not zipfile.is_zipfile(source):
        raise ValueError(f"read_open_bandit: {source} is neither a folder nor a wheel (a zip file).")
    with zipfile.ZipFile(source) as wheel:
        try:
            text = contents(lambda: wheel.read(f"obp/dataset/obd/{inside}"), name)
        except KeyError:
            raise ValueError(f"read_open_bandit: {source} does not hold obp/dataset/obd/{inside}.") from None
    return Table(contents(lambda: pd.read_csv(io.BytesIO(text)), name), name)
