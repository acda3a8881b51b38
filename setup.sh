#!/bin/sh
# Finds a fitting Python and hands over to tools/setup, which does everything else.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit 1

fits() {
    "$@" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

if [ -n "${KOHYA_PYTHON:-}" ]; then
    fits "$KOHYA_PYTHON" && exec "$KOHYA_PYTHON" "$here/tools/setup" "$@"
    echo "KOHYA_PYTHON=$KOHYA_PYTHON is no Python 3.11, 3.12 or 3.13." >&2
    exit 2
fi
for name in python3 python3.13 python3.12 python3.11 python; do
    fits "$name" && exec "$name" "$here/tools/setup" "$@"
done

found=$(python3 --version 2>&1) || found="no Python at all"
echo "Python 3.11, 3.12 or 3.13 is needed; this computer has: $found." >&2
echo "What to do:" >&2
echo "  Debian, Ubuntu   sudo apt install python3 python3-venv" >&2
echo "  Fedora           sudo dnf install python3.13" >&2
echo "  macOS            brew install python@3.13, or the installer from python.org" >&2
echo "Is it installed somewhere else? KOHYA_PYTHON=/path/to/python3.13 ./setup.sh" >&2
exit 2
