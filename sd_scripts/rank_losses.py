"""Rank a training's pictures by their loss: `python -m sd_scripts.rank_losses --config_file …`."""

import sys

from sd_scripts.options.jobs import RankLossesJob
from sd_scripts.train.entry import run_script

if __name__ == "__main__":
    sys.exit(run_script(RankLossesJob, "rank_losses"))
