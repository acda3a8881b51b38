"""Examine pictures and captions: `python -m sd_scripts.check_pictures FOLDER`."""

import sys

from sd_scripts.curating.checking import run_check

if __name__ == "__main__":
    sys.exit(run_check(sys.argv[1:]))
