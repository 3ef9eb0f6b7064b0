"""An agent that cannot run."""


class NoRun:
    name = "broken_agent"
