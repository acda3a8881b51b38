"""`python -m kohya_gui`: open the GUI, refusing what is unsafe, or do what a command word says."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence

from kohya_gui.arguments import parse_arguments
from kohya_gui.commands.problems import print_problems
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the GUI until it is interrupted; return the exit code of `sd_scripts.errors`."""
    began = time.monotonic()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and not words[0].startswith("-"):
            from kohya_gui.commands.doing import run_command

            return run_command(words)
        arguments = parse_arguments(words)
        gc.disable()  # what is made at the start stays: see `serve`, which turns it on again
        # Imported only now: a refusal should not wait for the import of a web framework.
        from kohya_gui.app import serve

        return serve(arguments, began=began)
    except UserError as error:
        return print_problems(error, as_json="--json" in words)
    except KeyboardInterrupt:
        return EXIT_OK
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAULT


if __name__ == "__main__":
    raise SystemExit(main())
