"""Tag pictures with a WD14 tagger: `python -m sd_scripts.tag_images_by_wd14_tagger FOLDER`."""

import sys

from sd_scripts.captioning.entry import run_tagging
from sd_scripts.runs.machine import settle_process

if __name__ == "__main__":
    sys.exit(run_tagging(sys.argv[1:], settle_process()))
