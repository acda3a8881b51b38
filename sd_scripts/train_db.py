"""Dreambooth: train a whole model. `python -m sd_scripts.train_db --config_file job.toml`."""

import sys

from sd_scripts.options.jobs import TrainDbJob
from sd_scripts.train.entry import run_script

if __name__ == "__main__":
    sys.exit(run_script(TrainDbJob, "train_db"))
