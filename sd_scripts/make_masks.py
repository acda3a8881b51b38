"""Make masks of what is in front in pictures: `python -m sd_scripts.make_masks FOLDER …`."""

import sys

from sd_scripts.captioning.entry import run_masking
from sd_scripts.runs.machine import settle_process

if __name__ == "__main__":
    sys.exit(run_masking(sys.argv[1:], settle_process()))
