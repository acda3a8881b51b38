"""Train a LoRA or LyCORIS network: `python -m sd_scripts.train_network --config_file job.toml`."""

import sys

from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.train.entry import main

if __name__ == "__main__":
    sys.exit(main(TrainNetworkJob, "train_network"))
