"""Learn a new word: `python -m sd_scripts.train_textual_inversion --config_file job.toml`."""

import sys

from sd_scripts.options.jobs import TrainTextualInversionJob
from sd_scripts.train.entry import run_script

if __name__ == "__main__":
    sys.exit(run_script(TrainTextualInversionJob, "train_textual_inversion"))
