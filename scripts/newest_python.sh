#!/bin/sh
# Print the newest Python of this machine, its path: from PATH, or among those that pyenv has installed. Nothing, and exit
# code 1, if there is none that is newer than the oldest one that the gateway supports.
set -eu
installed=${PYENV_ROOT:-$HOME/.pyenv}/versions
for minor in 16 15 14 13 12; do
    for candidate in "python3.$minor" $(ls -d "$installed/3.$minor".*/bin/python3 2>/dev/null || true); do
        # A shim of pyenv is found, and fails, where its version is not switched on; a venv needs ensurepip.
        if "$candidate" -c "import ensurepip, ssl, sqlite3, sys; sys.exit(sys.version_info[1] != $minor)" 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            exit 0
        fi
    done
done
exit 1
