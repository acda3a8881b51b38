"""Keep a model and paint what is ordered from it: `python -m sd_scripts.try_prompts …`."""

import sys

from sd_scripts.painting.entry import run_trying
from sd_scripts.runs.machine import settle_process

if __name__ == "__main__":
    sys.exit(run_trying(sys.argv[1:], settle_process()))
