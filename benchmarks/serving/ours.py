"""The toolkit's server in a process of its own, served as `toolkit serve` does.

It finds the hundred tools and the agents as an installed distribution. Limits of how
often one may ask are out of the way: one client plays a thousand.
"""

from __future__ import annotations

import sys

from benchmarks.serving.floor import pin
from benchmarks.serving.subjects import DISTRIBUTION, SECRET, Bench
from toolkit import Settings
from toolkit.server.serve import bind, serve

UNLIMITED = 1_000_000_000
SETTINGS = Settings(
    allow=frozenset({DISTRIBUTION}),
    cache=False,
    server={  # type: ignore[arg-type]  # it becomes a table
        "port": 0,
        "messages_per_minute": UNLIMITED,
        "connects_per_minute": UNLIMITED,
    },
    auth={"secret": SECRET},  # type: ignore[arg-type]  # the same
    agents={"default_agent": Bench.name},  # type: ignore[arg-type]  # the same
)


def main(core: int) -> None:
    """Serve on one core until told to stop."""
    pin(core)
    listening = bind(SETTINGS)
    print(listening.getsockname()[1], flush=True)
    serve(SETTINGS, listening)


if __name__ == "__main__":
    main(int(sys.argv[1]))
