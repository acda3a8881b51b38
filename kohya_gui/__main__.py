"""`python -m kohya_gui`: read the flags, refuse what is unsafe, open the GUI."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from kohya_gui.arguments import parse_arguments
from sd_scripts.errors import EXIT_FAULT, EXIT_OK, EXIT_USER, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the GUI until it is interrupted; return the exit code of `sd_scripts.errors`."""
    began = time.monotonic()
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        # Imported only now: a refusal should not wait for the import of a web framework.
        from kohya_gui.app import serve

        return serve(arguments, began=began)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem.message}", file=sys.stderr)
            if problem.hint:
                print(f"       {problem.hint}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:
        return EXIT_OK
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAULT


if __name__ == "__main__":
    raise SystemExit(main())
