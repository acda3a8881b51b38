"""Fine-tune a whole model: `python -m sd_scripts.fine_tune --config_file job.toml`."""

import sys

from sd_scripts.options.jobs import FineTuneJob
from sd_scripts.train.entry import run_script

if __name__ == "__main__":
    sys.exit(run_script(FineTuneJob, "fine_tune"))
