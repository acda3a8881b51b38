"""Cut a DyLoRA file into LoRA files of every rank: `python -m sd_scripts.slice_dylora`."""

import sys

from sd_scripts.weights.slicing import run_slicing

if __name__ == "__main__":
    sys.exit(run_slicing(sys.argv[1:]))
