"""Train a LoRA or LyCORIS network: `python -m sd_scripts.train_network --config_file job.toml`."""

import sys

from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.train.entry import run_script

if __name__ == "__main__":
    sys.exit(run_script(TrainNetworkJob, "train_network"))
