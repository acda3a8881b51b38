"""Write captions with BLIP or another captioner: `python -m sd_scripts.make_captions FOLDER`."""

import sys

from sd_scripts.captioning.entry import run_captioning
from sd_scripts.runs.machine import settle_process

if __name__ == "__main__":
    sys.exit(run_captioning(sys.argv[1:], settle_process()))
