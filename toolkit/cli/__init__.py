"""The `toolkit` command. typer and rich are imported only inside this package.

::

    app.py        the commands
    options.py    their help
    session.py    one run: settings, discovery, logging
    output.py     streams; tables for people, plain records for programs
    listing.py    list, schema
    doctor.py     doctor; tables.py: as people see it, view.py: what is shown
    why.py        why; matching.py: what is meant, missing.py and installed.py: what
                  is not found
    calling.py    call
    minting.py    token
    serving.py    serve
"""

import sys
from typing import Final, NoReturn

from toolkit.errors import MissingExtraError

_EXTRA: Final = frozenset({"rich", "typer"})


def main() -> NoReturn:
    """Run the command and end the process; the entry point of the script.

    Raises:
        SystemExit: Always, with the exit status.
        ModuleNotFoundError: Something else is missing than what the extra brings.
    """
    try:
        from toolkit.cli.app import run  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        missing = MissingExtraError("the command `toolkit`", "cli")
        print(f"error[{missing.code}]: {missing}", file=sys.stderr)
        sys.exit(2)
    run()
