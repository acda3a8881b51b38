"""Make a folder of prepared pictures: `python -m sd_scripts.prepare_pictures FOLDER …`."""

import sys

from sd_scripts.curating.preparing import run_prepare

if __name__ == "__main__":
    sys.exit(run_prepare(sys.argv[1:]))
