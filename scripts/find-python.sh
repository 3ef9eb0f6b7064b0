#!/bin/sh
# Print the path of a Python that can make our virtual environment.
#
# A name on the PATH proves nothing: a version manager's shim may exist and fail, and
# a distribution may ship Python without its venv module. So each candidate is run.
# PYTHON=/path/to/python overrides the search.

probe='
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(getattr(sys, "_base_executable", sys.executable))
import ensurepip, venv
'

without_venv=
for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
    if found=$("$candidate" -I -c "$probe" 2>/dev/null); then
        printf '%s\n' "$found"
        exit 0
    elif [ -n "$found" ]; then
        without_venv=$found
    fi
done

if [ -n "$without_venv" ]; then
    echo "error: $without_venv has no venv module." >&2
    echo "Install it (Debian, Ubuntu: the package python3-venv), then try again." >&2
else
    echo "error: no Python 3.11 or newer found on the PATH." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.13 <target>" >&2
fi
exit 1
